//go:build unix

package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// selfProving is a text that says of itself whether it is whole.
func selfProving(n int) string {
	body := fmt.Sprintf("%d:", n) + strings.Repeat("x", n%3000)
	return fmt.Sprintf("%x%s", sha256.Sum256([]byte(body)), body)
}

func isWholeText(text []byte) bool {
	return len(text) > 64 && fmt.Sprintf("%x", sha256.Sum256(text[64:])) == string(text[:64])
}

// Senders that race for the same keys, marks, resumes, and a reader that takes
// every file as soon as it sees it: each item is seen once, and whole.
func TestConcurrentSendersAndReader(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir, func(c *InboxConfig) { c.ResumeBytes = 100 })
	const items, senders = 120, 4
	seen := map[string]int{}
	quit, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			last := false
			select {
			case <-quit:
				last = true
			default:
			}
			readInbox(t, dir, seen)
			if last {
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for i := range items {
				n := (i*7+sender/2*31)%items + 1 // two senders each in the same order
				if err := deliverSomehow(in, uint64(n), selfProving(n), sender); err != nil {
					t.Errorf("item %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	close(quit)
	<-gone
	for n := 1; n <= items; n++ {
		if seen[selfProving(n)] != 1 {
			t.Errorf("item %d was seen %d times", n, seen[selfProving(n)])
		}
	}
	want(t, "distinct files", len(seen), items)
	s := in.Stats()
	want(t, "published", s.Published, items)
	want(t, "under way", s.UnderWay, 0)
	want(t, "promised", in.room.promised, 0)
}

func readInbox(t *testing.T, dir string, seen map[string]int) {
	des, err := os.ReadDir(dir)
	if err != nil {
		t.Error(err)
		return
	}
	for _, de := range des {
		if de.Name() == relayDir {
			continue
		}
		path := filepath.Join(dir, de.Name())
		text, err := os.ReadFile(path)
		if err != nil || !isWholeText(text) {
			t.Errorf("%s: %d bytes, %v: not a whole file", de.Name(), len(text), err)
		}
		seen[string(text)]++
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// deliverSomehow sends an item until there is a receipt, now and then in parts.
func deliverSomehow(in *Inbox, n uint64, text string, sender int) error {
	a := arrival(testID(n), fmt.Sprint("name", n%5), text)
	for {
		var offset int64
		if p, err := in.Progress(context.Background(), a.Key); err == nil && p.Receipt == nil {
			offset = p.Offset
		}
		s, err := in.Resume(context.Background(), a, offset)
		if _, ok := errors.AsType[*DeliveredError](err); ok {
			return nil
		}
		if _, ok := errors.AsType[*OffsetError](err); ok || errors.Is(err, ErrUnderWay) {
			runtime.Gosched()
			continue
		}
		if err != nil {
			return err
		}
		rest := text[offset:]
		cut := int(n)%2 == sender%2 && len(rest) > 500
		if cut {
			rest = rest[:len(rest)/2]
		}
		if _, err := s.Write([]byte(rest)); err != nil {
			return errors.Join(err, s.Drop())
		}
		if cut {
			if err := s.Keep(); err != nil {
				return err
			}
			continue
		}
		if _, err := s.Publish(context.Background()); err != nil {
			return err
		}
	}
}

// Close may come at any moment: whoever is cut off learns it, and nothing is
// left in between.
func TestCloseWhileSending(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir)
	var wg sync.WaitGroup
	acked := make([]bool, 400)
	started := make(chan struct{}, len(acked))
	for sender := range 4 {
		wg.Go(func() {
			for i := sender; i < len(acked); i += 4 {
				_, err := put(in, arrival(testID(uint64(i+1)), fmt.Sprint("f", i), "text"), "text")
				acked[i] = err == nil
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("item %d: %v", i, err)
				}
				started <- struct{}{}
			}
		})
	}
	for range 50 {
		<-started
	}
	mustClose(t, in)
	wg.Wait()
	in = mustInbox(t, dir)
	for i, ok := range acked {
		_, err := os.Stat(filepath.Join(dir, fmt.Sprint("f", i)))
		if ok != (err == nil) {
			t.Errorf("item %d: acknowledged %v, file: %v", i, ok, err)
		}
	}
}
