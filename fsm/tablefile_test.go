package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

func tableText(t Table) string { return viewText(View{Table: t}) }

// The file stands for tables that lie on disks. A difference calls for a new
// version with a file of its own, not for -update.
func TestATableHasTheBytesOfItsVersion(t *testing.T) {
	want := full(t).View().Table
	b, err := EncodeTable(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeTable(golden(t, "table-v1.json", b))
	if err != nil || tableText(got) != tableText(want) {
		t.Errorf("read as\n%s, %v, want\n%s", tableText(got), err, tableText(want))
	}
}

func TestTablesOfOtherOriginsAreKeptToo(t *testing.T) {
	for name, want := range map[string]Table{
		"the zero value": {},
		"of a static network: no node, no mode, no failover_after": {Index: 1, Clusters: map[ClusterName]Cluster{
			"c": {Name: "c", Collectors: []Collector{{ID: "i", Cluster: "c", Address: "127.0.0.1", Port: 1, State: StateActive}}},
			"k": {Name: "k", Mode: ModeKey, Key: regexp.MustCompile(`<&>(\x00)`), FailoverAfter: time.Second},
		}},
	} {
		b, err := EncodeTable(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := DecodeTable(b)
		if err != nil || got.Clusters == nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		c := got.Clusters["c"]
		if got.Index != want.Index || len(got.Clusters) != len(want.Clusters) || len(c.Collectors) != len(want.Clusters["c"].Collectors) {
			t.Errorf("%s: %s", name, tableText(got))
		}
	}
}

func TestEncodeTableRefusesWhatCouldNotBeRead(t *testing.T) {
	good := Collector{ID: "i", Cluster: "c", Address: "h", Port: 1, State: StateActive}
	for name, c := range map[string]Cluster{
		"name":                 {Name: "d"},
		"mode":                 {Name: "c", Mode: "some"},
		"a key without mode":   {Name: "c", Key: regexp.MustCompile("k")},
		"failover_after":       {Name: "c", FailoverAfter: 30 * 24 * time.Hour},
		"collector elsewhere":  {Name: "c", Collectors: []Collector{{ID: "i", Cluster: "d", Address: "h", Port: 1, State: StateActive}}},
		"collector twice":      {Name: "c", Collectors: []Collector{good, good}},
		"collector's state":    {Name: "c", Collectors: []Collector{{ID: "i", Cluster: "c", Address: "h", Port: 1}}},
		"collector's port":     {Name: "c", Collectors: []Collector{{ID: "i", Cluster: "c", Address: "h", State: StateActive}}},
		"collector's address":  {Name: "c", Collectors: []Collector{{ID: "i", Cluster: "c", Address: "a b", Port: 1, State: StateActive}}},
		"collector without id": {Name: "c", Collectors: []Collector{{Cluster: "c", Address: "h", Port: 1, State: StateActive}}},
	} {
		if b, err := EncodeTable(Table{Clusters: map[ClusterName]Cluster{"c": c}}); !errors.Is(err, ErrBadTable) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	if _, err := EncodeTable(Table{Clusters: map[ClusterName]Cluster{"a b": {Name: "a b"}}}); !errors.Is(err, ErrBadTable) {
		t.Errorf("cluster name: %v", err)
	}
}

func TestDecodeTableSeesAllDamage(t *testing.T) {
	good, err := EncodeTable(full(t).View().Table)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 5) // and not the bit that makes small letters of capitals
		if got, err := DecodeTable(bad); !errors.Is(err, ErrBadTable) || got.Clusters != nil {
			if i != len(good)-1 {
				t.Errorf("byte %d, %q for %q: %v", i, bad[i], good[i], err)
			}
		}
	}
	for n := range len(good) - 1 { // the line feed is not missed
		if _, err := DecodeTable(good[:n]); !errors.Is(err, ErrBadTable) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
}

// signTable makes a file with the right digest around any content.
func signTable(version int, content string) []byte {
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(content)); err != nil {
		compact.Reset()
		compact.WriteString(content)
	}
	sum := sha256.Sum256(compact.Bytes())
	return fmt.Appendf(nil, `{"version":%d,"sha256":"%x","table":%s}`, version, sum, compact.String())
}

func TestDecodeTableTakesNothingOnTrust(t *testing.T) {
	const good = `{"index":1,"clusters":{"c":{"name":"c","mode":"all","failover_after_ms":1,"collectors":[{"id":"i","cluster":"c","address":"h","port":1,"state":"active"}]}}}`
	if _, err := DecodeTable(signTable(1, good)); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"nothing":               nil,
		"null":                  []byte("null"),
		"a newer version":       signTable(2, good),
		"null table":            signTable(1, "null"),
		"unknown field":         signTable(1, strings.Replace(good, `"index":1`, `"index":1,"more":1`, 1)),
		"unknown field outside": bytes.Replace(signTable(1, good), []byte(`{"version"`), []byte(`{"more":1,"version"`), 1),
		"data after the end":    append(signTable(1, good), "{}"...),
		"another name":          signTable(1, strings.Replace(good, `"name":"c"`, `"name":"d"`, 1)),
		"port":                  signTable(1, strings.Replace(good, `"port":1`, `"port":70000`, 1)),
		"index below 0":         signTable(1, strings.Replace(good, `"index":1`, `"index":-1`, 1)),
	} {
		if got, err := DecodeTable(b); !errors.Is(err, ErrBadTable) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestDecodedCollectorsAreSorted(t *testing.T) {
	one := `{"id":"%s","cluster":"c","address":"h","port":1,"state":"active"}`
	got, err := DecodeTable(signTable(1, `{"index":1,"clusters":{"c":{"name":"c","mode":"all","failover_after_ms":1,"collectors":[`+
		fmt.Sprintf(one, "b")+`,`+fmt.Sprintf(one, "a")+`]}}}`))
	if err != nil || got.Clusters["c"].Collectors[0].ID != "a" {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzDecodeTable looks for tables that are read and cannot be written again.
func FuzzDecodeTable(f *testing.F) {
	b, err := EncodeTable(full(f).View().Table)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(signTable(1, `{"index":1,"clusters":{}}`))
	f.Add([]byte(`{"version":1,"sha256":"","table":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		// Almost no input has the right digest, so it is also taken as the content.
		for _, in := range [][]byte{b, signTable(1, string(b))} {
			got, err := DecodeTable(in)
			if err != nil {
				if !errors.Is(err, ErrBadTable) {
					t.Fatal(err)
				}
				continue
			}
			again, err := EncodeTable(got)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := DecodeTable(again); err != nil || tableText(back) != tableText(got) {
				t.Fatalf("%s reads back as %s, %v", tableText(got), tableText(back), err)
			}
		}
	})
}
