package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"
)

// mustInbox opens an inbox in dir and closes it with the test.
func mustInbox(t testing.TB, dir string, change ...func(*InboxConfig)) *Inbox {
	t.Helper()
	in, err := openTestInbox(dir, change...)
	if err != nil {
		t.Fatalf("open inbox: %v", err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Errorf("close inbox: %v", err)
		}
	})
	return in
}

func openTestInbox(dir string, change ...func(*InboxConfig)) (*Inbox, error) {
	cfg := InboxConfig{Dir: dir, Collector: "c1", ReserveBytes: -1}
	for _, f := range change {
		f(&cfg)
	}
	return OpenInbox(context.Background(), cfg)
}

var testSpool = SpoolID{0xab, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15}

func testID(seq uint64) string { return ID{Spool: testSpool, Epoch: 7, Seq: seq}.String() }

// arrival describes text under name as our sender does.
func arrival(key, name, text string) Arrival {
	d := Digest(sha256.Sum256([]byte(text)))
	return Arrival{Key: key, Name: name, Size: int64(len(text)), Digest: &d}
}

// put sends one item whole.
func put(in *Inbox, a Arrival, text string) (Receipt, error) {
	s, err := in.Begin(context.Background(), a)
	if err != nil {
		return Receipt{}, err
	}
	if _, err := s.Write([]byte(text)); err != nil {
		return Receipt{}, errors.Join(err, s.Drop())
	}
	return s.Publish(context.Background())
}

func mustPut(t testing.TB, in *Inbox, key, name, text string) Receipt {
	t.Helper()
	r, err := put(in, arrival(key, name, text), text)
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return r
}

// files lists what a reader of the inbox sees, as name=content, sorted.
func files(t testing.TB, dir string) string {
	t.Helper()
	des, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, de := range des {
		if de.Name() == relayDir {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, de.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s=%s", de.Name(), shorten(text)))
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func shorten(text []byte) string {
	if len(text) <= 64 {
		return string(text)
	}
	return fmt.Sprintf("%d:%x", len(text), sha256.Sum256(text))
}

// below lists the names in a directory of .relay.
func below(t testing.TB, dir, sub string) []string {
	t.Helper()
	des, err := os.ReadDir(filepath.Join(dir, relayDir, sub))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, de := range des {
		names = append(names, de.Name())
	}
	return names
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got error %v, want %v", what, got, want)
	}
}

func TestPublishedFileHasNameBytesTimeAndMode(t *testing.T) {
	for _, name := range []string{"a.json", "with space 'and' \"quotes\".txt", "ünïcödé – 文件", "noext", strings.Repeat("n", MaxNameBytes)} {
		for _, text := range []string{"", "x", "some text\x00with a NUL\n"} {
			dir := t.TempDir()
			in := mustInbox(t, dir, func(c *InboxConfig) { c.FileMode = 0o666 })
			a := arrival(testID(1), name, text)
			a.MTime = time.Date(1999, 12, 31, 23, 59, 58, 123456789, time.UTC)
			r, err := put(in, a, text)
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			want(t, "receipt", r, Receipt{ID: testID(1), Name: name, PublishedAs: name, Size: int64(len(text)), SHA256: *a.Digest})
			want(t, "files", files(t, dir), name+"="+text)
			fi, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			want(t, "mtime", fi.ModTime().UTC(), a.MTime)
			want(t, "mode", fi.Mode(), fs.FileMode(0o666))
			want(t, "stage", below(t, dir, stageDir), []string{})
		}
	}
}

func TestDuplicateGetsTheFirstReceipt(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, filepath.Join(dir, "a"), "other")
	in := mustInbox(t, dir)
	first := mustPut(t, in, testID(0x2f), "a", "text")
	want(t, "published as", first.PublishedAs, "a~2f")
	first.Duplicate = true
	look := func(in *Inbox) {
		t.Helper()
		_, err := put(in, arrival(testID(0x2f), "a", "text"), "text")
		d, ok := errors.AsType[*DeliveredError](err)
		if !ok {
			t.Fatalf("got %v, want DeliveredError", err)
		}
		want(t, "receipt", d.Receipt, first)
		p, err := in.Progress(t.Context(), testID(0x2f))
		if err != nil || p.Receipt == nil {
			t.Fatalf("progress: %+v, %v", p, err)
		}
		want(t, "receipt", *p.Receipt, first)
	}
	look(in)
	mustPut(t, in, testID(3), "b", "moves the row to DELIVERED")
	look(in)
	if err := os.Remove(filepath.Join(dir, "a~2f")); err != nil { // the reader takes it
		t.Fatal(err)
	}
	mustClose(t, in)
	look(mustInbox(t, dir))
	want(t, "files", files(t, dir), "a=other b=moves the row to DELIVERED")
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	in := mustInbox(t, dir, func(c *InboxConfig) { c.MaxFileBytes = 10; c.OnConflict = ConflictReject })
	mustPut(t, in, testID(1), "taken", "text")
	mustPut(t, in, "theirs", "foreign", "text")
	wrong := Digest{1}
	for _, c := range []struct {
		what string
		a    Arrival
		text string
		want error
	}{
		{"dot dot", arrival(testID(9), "..", "x"), "x", ErrName},
		{"slash", arrival(testID(9), "../x", "x"), "x", ErrName},
		{"relay dir", arrival(testID(9), ".relay", "x"), "x", ErrName},
		{"newline", arrival(testID(9), "a\nb", "x"), "x", ErrName},
		{"bidi", arrival(testID(9), "a\u202eb", "x"), "x", ErrName},
		{"long", arrival(testID(9), strings.Repeat("n", 201), "x"), "x", ErrName},
		{"key with control character", arrival("a\x01", "x", "x"), "x", ErrKey},
		{"key too long", arrival(strings.Repeat("k", 129), "x", "x"), "x", ErrKey},
		{"announced too large", arrival(testID(9), "x", "12345678901"), "", ErrTooLarge},
		{"too large, not announced", Arrival{Key: testID(9), Name: "x", Size: -1}, "12345678901", ErrTooLarge},
		{"more than announced", Arrival{Key: testID(9), Name: "x", Size: 3}, "1234", ErrTooLarge},
		{"less than announced", Arrival{Key: testID(9), Name: "x", Size: 3}, "12", ErrShort},
		{"other digest than announced", Arrival{Key: testID(9), Name: "x", Size: 3, Digest: &wrong}, "123", ErrDigest},
		{"name taken", arrival(testID(9), "taken", "x"), "x", ErrNameTaken},
		{"known id, other digest", Arrival{Key: testID(1), Name: "taken", Size: 4, Digest: &wrong}, "", ErrDigestConflict},
		{"known id, other name", arrival(testID(1), "other", "text"), "", ErrDigestConflict},
		{"known id, other size", Arrival{Key: testID(1), Name: "taken", Size: 5}, "", ErrDigestConflict},
		{"known foreign key, other name", arrival("theirs", "other", "text"), "", ErrDigestConflict},
	} {
		_, err := put(in, c.a, c.text)
		wantErr(t, c.what, err, c.want)
		want(t, c.what+": stage", below(t, dir, stageDir), []string{})
	}
	want(t, "files", files(t, dir), "foreign=text taken=text")
	want(t, "under way", in.Stats().UnderWay, 0)
	mustPut(t, in, testID(9), "x", "now right")
}

func TestSameKeyTwiceAtOnce(t *testing.T) {
	in := mustInbox(t, t.TempDir())
	a := arrival(testID(1), "a", "text")
	s, err := in.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.Begin(t.Context(), a)
	wantErr(t, "second begin", err, ErrUnderWay)
	_, err = in.Progress(t.Context(), a.Key)
	wantErr(t, "progress", err, ErrUnderWay)
	if err := s.Drop(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Publish(t.Context())
	wantErr(t, "publish after drop", err, ErrClosed)
	_, err = in.Progress(t.Context(), a.Key)
	wantErr(t, "progress after drop", err, ErrUnknown)
	mustPut(t, in, a.Key, "a", "text")
}

func TestPlainArrivalsAreAllNew(t *testing.T) {
	dir := t.TempDir()
	in := mustInbox(t, dir)
	for range 3 {
		r := mustPut(t, in, "", "a.txt", "text")
		if !strings.HasPrefix(r.ID, plainPrefix) {
			t.Errorf("id %q", r.ID)
		}
	}
	if got := strings.Count(files(t, dir), "=text"); got != 3 {
		t.Errorf("files: %s", files(t, dir))
	}
	mustClose(t, in)
	in = mustInbox(t, dir)
	rows, err := in.ledger.Load().prepared()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "rows of plain arrivals", len(rows), 0)
}

func TestForeignKeyIsForgottenAfterADay(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	in := mustInbox(t, dir, func(c *InboxConfig) { c.seams.now = func() time.Time { return now } })
	const key = "their key/1"
	r := mustPut(t, in, key, "a", "text")
	want(t, "id", r.ID, key)
	mustPut(t, in, testID(1), "b", "writes S9")
	now = now.Add(foreignKeyAge - time.Second)
	_, err := put(in, arrival(key, "a", "text"), "text")
	if _, ok := errors.AsType[*DeliveredError](err); !ok {
		t.Errorf("within a day: %v", err)
	}
	now = now.Add(time.Second)
	_, err = in.Progress(t.Context(), key)
	wantErr(t, "after a day", err, ErrUnknown)
	want(t, "published as", mustPut(t, in, key, "a", "text").PublishedAs[:2], "a~")
	// The sweep of the first time's entry must not take the second row along.
	mustPut(t, in, testID(2), "c", "writes S9")
	p, err := in.Progress(t.Context(), key)
	if err != nil || p.Receipt == nil {
		t.Errorf("second time: %+v, %v", p, err)
	}
}

func TestConflictPolicies(t *testing.T) {
	for _, c := range []struct {
		policy Conflict
		name   string
		as     string
		err    error
		files  string
	}{
		{ConflictSuffix, "a.tar.gz", "a.tar~1f.gz", nil, "a.tar.gz=old a.tar~1f.gz=new"},
		{ConflictSuffix, "a", "a~1f", nil, "a=old a~1f=new"},
		{ConflictReject, "a", "", ErrNameTaken, "a=old"},
		{ConflictReplace, "a", "a", nil, "a=new"},
	} {
		dir := t.TempDir()
		in := mustInbox(t, dir, func(cfg *InboxConfig) { cfg.OnConflict = c.policy })
		mustWrite(t, filepath.Join(dir, c.name), "old")
		r, err := put(in, arrival(testID(0x1f), c.name, "new"), "new")
		wantErr(t, string(c.policy), err, c.err)
		want(t, "published as", r.PublishedAs, c.as)
		want(t, "files", files(t, dir), c.files)
	}
}

func TestReplaceNeverReplacesADirectory(t *testing.T) {
	dir := t.TempDir()
	in := mustInbox(t, dir, func(cfg *InboxConfig) { cfg.OnConflict = ConflictReplace })
	s, err := in.Begin(t.Context(), arrival(testID(1), "d", "x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = s.Write([]byte("x"))
	wantErr(t, "write", err, nil)
	_, err = s.Publish(t.Context())
	wantErr(t, "directory came while writing", err, ErrNameTaken)
	_, err = put(in, arrival(testID(1), "d", "x"), "x")
	wantErr(t, "directory was there", err, ErrNameTaken)
	want(t, "stage", below(t, dir, stageDir), []string{})
}

func TestSymbolicLinkInTheInboxIsNotFollowed(t *testing.T) {
	for _, policy := range []Conflict{ConflictSuffix, ConflictReplace} {
		dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
		mustWrite(t, outside, "old")
		if err := os.Symlink(outside, filepath.Join(dir, "a")); err != nil {
			t.Skip(err)
		}
		in := mustInbox(t, dir, func(cfg *InboxConfig) { cfg.OnConflict = policy })
		mustPut(t, in, testID(1), "a", "new")
		text, err := os.ReadFile(outside)
		if err != nil || string(text) != "old" {
			t.Errorf("%s: outside is %q, %v", policy, text, err)
		}
	}
}

func TestTwoNamesTheSameInOneGroupAndTwoSeqsTheSame(t *testing.T) {
	dir := t.TempDir()
	in := mustInbox(t, dir)
	other := ID{Spool: SpoolID{9}, Epoch: 1, Seq: 1}.String()
	third := ID{Spool: SpoolID{8}, Epoch: 1, Seq: 1}.String()
	mustPut(t, in, testID(1), "a.x", "one")
	want(t, "second", mustPut(t, in, other, "a.x", "two").PublishedAs, "a~1.x")
	got := mustPut(t, in, third, "a.x", "three").PublishedAs
	if !strings.HasPrefix(got, "a~1-") || !strings.HasSuffix(got, ".x") {
		t.Errorf("third: %q", got)
	}
}

func TestSuffixedNameStaysLegal(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"a.json", "a~5.json"},
		{"a", "a~5"},
		{"a.", "a~5."},
		{strings.Repeat("n", 200), strings.Repeat("n", 198) + "~5"},
		{strings.Repeat("ü", 98) + ".txt", strings.Repeat("ü", 97) + "~5.txt"},
		{"a." + strings.Repeat("n", 198), "a." + strings.Repeat("n", 196) + "~5"},
	} {
		got := suffixed(c.name, "5")
		want(t, c.name, got, c.want)
		wantErr(t, got, CheckName(got), nil)
	}
}

func TestClosedInbox(t *testing.T) {
	in := mustInbox(t, t.TempDir())
	s, err := in.Begin(t.Context(), arrival(testID(1), "a", "x"))
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, in)
	mustClose(t, in)
	_, err = in.Begin(t.Context(), arrival(testID(2), "b", "x"))
	wantErr(t, "begin", err, ErrClosed)
	_, err = in.Resume(t.Context(), arrival(testID(2), "b", "x"), 0)
	wantErr(t, "resume", err, ErrClosed)
	_, err = in.Progress(t.Context(), testID(2))
	wantErr(t, "progress", err, ErrClosed)
	_, err = s.Write([]byte("x"))
	wantErr(t, "write", err, ErrClosed)
	_, err = s.Publish(t.Context())
	wantErr(t, "publish", err, ErrClosed)
	in.Settle(testSpool, []Mark{{Epoch: 1, Seq: 1}})
	in.Stats()
}

func TestSecondProcessIsLockedOut(t *testing.T) {
	dir := t.TempDir()
	mustInbox(t, dir)
	_, err := openTestInbox(dir)
	wantErr(t, "open", err, ErrLocked)
}

func TestUnsafeDirectories(t *testing.T) {
	for what, spoil := range map[string]func(dir string) error{
		".relay is a link": func(dir string) error { return os.Symlink(t.TempDir(), filepath.Join(dir, relayDir)) },
		"stage is a link": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, relayDir), 0o700), os.Symlink(t.TempDir(), filepath.Join(dir, relayDir, stageDir)))
		},
		".relay is a file": func(dir string) error { return os.WriteFile(filepath.Join(dir, relayDir), nil, 0o600) },
		"anybody may write": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, relayDir), 0o700), os.Chmod(filepath.Join(dir, relayDir), 0o777))
		},
	} {
		dir := t.TempDir()
		if err := spoil(dir); err != nil {
			t.Skip(err)
		}
		_, err := openTestInbox(dir)
		wantErr(t, what, err, ErrUnsafe)
	}
}

func TestBadInboxConfig(t *testing.T) {
	for what, change := range map[string]func(*InboxConfig){
		"no directory":      func(c *InboxConfig) { c.Dir = "" },
		"policy":            func(c *InboxConfig) { c.OnConflict = "whatever" },
		"group":             func(c *InboxConfig) { c.Group = "no such group here" },
		"missing directory": func(c *InboxConfig) { c.Dir = filepath.Join(c.Dir, "missing") },
	} {
		if in, err := openTestInbox(t.TempDir(), change); err == nil {
			mustClose(t, in)
			t.Errorf("%s: opened", what)
		}
	}
}

func mustWrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, in *Inbox) {
	t.Helper()
	if err := in.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}
