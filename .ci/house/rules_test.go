package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestCheckFindsOffenders(t *testing.T) {
	cases := map[string]struct{ file, src, want string }{
		"an arrow against the stream": {"httpapi/a.go",
			`package httpapi; import _ "github.com/bucket-relay/bucket-relay/spool"`, "httpapi may not import spool"},
		"an arrow that skips a room": {"cmd/bucket-relay/a.go",
			`package main; import _ "github.com/bucket-relay/bucket-relay/fsm"`, "cmd may not import fsm"},
		"an arrow from a test": {"spool/a_test.go",
			`package spool; import _ "github.com/bucket-relay/bucket-relay/node"`, "spool may not import node"},
		"a new room": {"util/a.go", `package util`, `"util" is not one of the rooms`},
		"raft in the wire": {"httpapi/a.go",
			`package httpapi; import _ "github.com/hashicorp/raft"`, "may not import github.com/hashicorp/raft"},
		"HTTP in the spool": {"spool/a.go", `package spool; import _ "net/http/httptest"`, "may not import net/http/httptest"},
		"sleeping in a test": {"spool/a_test.go",
			`package spool; import "time"; func f() { time.Sleep(1) }`, "time.Sleep"},
		"sleeping under another name": {"spool/a_test.go",
			`package spool; import t "time"; var f = t.Sleep`, "t.Sleep"},
		"a rename beside the seam": {"spool/outbox.go",
			`package spool; import "os"; func f() { _ = os.Rename("a", "b") }`, "os.Rename"},
		"a write beside the seam": {"node/a.go",
			`package node; import "os"; var f = os.WriteFile`, "os.WriteFile"},
		"a raw rename": {"spool/outbox.go",
			`package spool; import "golang.org/x/sys/unix"; var f = unix.Renameat2`, "unix.Renameat2"},
		"an exit in a library":        {"node/a.go", `package node; import "os"; var f = os.Exit`, "os.Exit"},
		"a clock in the state":        {"fsm/a.go", `package fsm; import "time"; var f = time.Now`, "time.Now"},
		"a log.Fatal in package main": {"cmd/bucket-relay/main.go", `package main; import "log"; var f = log.Fatalf`, "log.Fatalf"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := check(fstest.MapFS{c.file: {Data: []byte(c.src)}})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || !strings.Contains(got[0], c.want) || !strings.HasPrefix(got[0], c.file+":1:") {
				t.Errorf("got %q, want one finding in %s with %q", got, c.file, c.want)
			}
		})
	}
}

func TestCheckLetsTheRightThingsPass(t *testing.T) {
	tree := fstest.MapFS{
		"spool/disk_linux.go": {Data: []byte(`package spool; import "golang.org/x/sys/unix"; var f = unix.Renameat2`)},
		"spool/a_test.go":     {Data: []byte(`package spool; import "os"; var f = os.WriteFile`)},
		"cmd/x/main.go":       {Data: []byte(`package main; import "os"; import _ "github.com/bucket-relay/bucket-relay/node"; var f = os.Exit`)},
		"node/a.go":           {Data: []byte(`package node; import "time"; import _ "github.com/bucket-relay/bucket-relay/spool"; var f = time.Sleep`)},
		"spool/b_test.go":     {Data: []byte(`package spool; import ("testing/synctest"; "time"); var f, g = synctest.Test, time.Sleep`)},
		"spool/testdata/x.go": {Data: []byte(`not go at all`)},
		".ci/x.go":            {Data: []byte(`not go at all`)},
	}
	got, err := check(tree)
	if err != nil || len(got) > 0 {
		t.Errorf("got %q, %v; want nothing", got, err)
	}
}
