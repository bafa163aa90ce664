package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// oneProblem loads a configuration that has just one thing wrong with it.
func oneProblem(t *testing.T, dir, text, want string) {
	t.Helper()
	_, err := loadText(t, dir, text)
	lines := problemLines(t, dir, err)
	if len(lines) != 1 || !strings.Contains(lines[0], want) {
		t.Errorf("got %d problems, want one with %q:\n%s", len(lines), want, strings.Join(lines, "\n"))
	}
}

// relay is a configuration with one outbox and one inbox.
func relay(out, in, after string) string {
	return fmt.Sprintf("uploaders:\n  - { spool: %q, nexthop: '\"c1\"', after: %q }\n"+
		"collectors:\n  - { id: one, cluster: c1, port: 10100, spool: %q }\n", out, after, in)
}

func TestOutboxAndInboxMayNotBeOneDirectoryUnderAnyName(t *testing.T) {
	dir := configDir(t)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "out"), link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	const want = "is also an outbox: files would go round for ever (line 2); use two directories"
	for _, in := range []string{"out", "out/", "in/../out", link, "link/.", filepath.Join(dir, "link", "..", "out")} {
		t.Run(in, func(t *testing.T) { oneProblem(t, dir, relay("out", in, "delete"), want) })
	}
}

func TestDirectoriesThatMeetWithoutSharingAPath(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no symbolic links without a privilege")
	}
	dir := configDir(t)
	// The parent is a link, so no element of the two paths is alike.
	mustMkdir(t, filepath.Join(dir, "real", "box"))
	if err := os.Symlink(filepath.Join(dir, "real"), filepath.Join(dir, "alias")); err != nil {
		t.Fatal(err)
	}
	oneProblem(t, dir, relay("real/box", "alias/box", "delete"), "is also an outbox")
}

func TestNothingLiesInAnotherSpool(t *testing.T) {
	dir := configDir(t)
	mustMkdir(t, filepath.Join(dir, "in", ".relay", "stage"))
	mustMkdir(t, filepath.Join(dir, "elsewhere", ".relay"))
	const want = "lies in a .relay, which belongs to another spool; use another directory"
	oneProblem(t, dir, relay("in/.relay/stage", "in", "delete"), want)
	oneProblem(t, dir, relay("elsewhere/.relay", "in", "delete"), want)
	oneProblem(t, dir, "data_dir: in/.relay/mine\n"+relay("out", "in", "delete"), want)
}

func TestArchiveLiesOutsideOfAllSpools(t *testing.T) {
	dir := configDir(t)
	for _, sub := range []string{"out/sent", "in/sent/deep"} {
		mustMkdir(t, filepath.Join(dir, sub))
	}
	for archive, want := range map[string]string{
		"out":          "is the outbox or lies in it (line 2)",
		"out/sent":     "is the outbox or lies in it (line 2)",
		"in":           "is the inbox or lies in it (line 4)",
		"in/sent/deep": "is the inbox or lies in it (line 4)",
		"sent/../out":  "is the outbox or lies in it (line 2)",
	} {
		t.Run(archive, func(t *testing.T) {
			oneProblem(t, dir, relay("out", "in", "archive: "+archive), want+"; archive to a directory outside of all spools")
		})
	}
	c := mustLoad(t, dir, relay("out", "in", "archive:"+filepath.Join(dir, "sent")))
	if want := filepath.Join(dir, "sent"); c.Uploaders[0].Archive != want {
		t.Errorf("Archive = %q, want %q", c.Uploaders[0].Archive, want)
	}
}

func TestAfterTakesBothSpellings(t *testing.T) {
	dir := configDir(t)
	for _, after := range []string{`"archive: sent"`, `{ archive: sent }`, "\n      archive: sent"} {
		c := mustLoad(t, dir, "uploaders:\n  - spool: out\n    nexthop: '\"c1\"'\n    after: "+after+"\n")
		if want := filepath.Join(dir, "sent"); c.Uploaders[0].Archive != want {
			t.Errorf("after: %s: Archive = %q, want %q", after, c.Uploaders[0].Archive, want)
		}
	}
	c := mustLoad(t, dir, "uploaders:\n  - { spool: out, nexthop: '\"c1\"', after: delete }\n")
	if c.Uploaders[0].Archive != "" {
		t.Errorf("after: delete: Archive = %q", c.Uploaders[0].Archive)
	}
}

func TestOutboxesMayShareAnArchive(t *testing.T) {
	mustLoad(t, configDir(t), "uploaders:\n"+
		"  - { spool: out, nexthop: '\"c1\"', after: { archive: sent } }\n"+
		"  - { spool: out2, nexthop: '\"c1\"', after: { archive: sent } }\n")
}

func TestDataDirNeedNotExistAndIsNotCreated(t *testing.T) {
	dir := configDir(t)
	c := mustLoad(t, dir, "data_dir: new/data\n")
	if want := filepath.Join(dir, "new", "data"); c.DataDir != want {
		t.Errorf("DataDir = %q, want %q", c.DataDir, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
		t.Errorf("Load made it: %v", err)
	}
	oneProblem(t, dir, "data_dir: static.yaml\n", "is not a directory; name a directory")
}
