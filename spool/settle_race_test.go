package spool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
)

// A late duplicate that arrives between the commit that drops its row and the
// moment when the inbox hears of that commit is settled, not new.
func TestDuplicateWhileItsRowIsDropped(t *testing.T) {
	var in *Inbox
	late := make(chan error, 8)
	var armed atomic.Bool
	in = mustInbox(t, memDir(t), func(c *InboxConfig) {
		c.seams.commit = func(write func() error) error {
			err := write()
			if armed.Load() {
				s, beginErr := in.Begin(context.Background(), arrival(testID(1), "a", "text"))
				if beginErr == nil {
					beginErr = s.Drop()
				}
				late <- beginErr
			}
			return err
		}
	})
	mustPut(t, in, testID(1), "a", "text")
	mustPut(t, in, testID(2), "b", "text") // S9 of the first
	armed.Store(true)
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 1}})
	mustPut(t, in, testID(3), "c", "text")
	err := <-late
	var settled *SettledError
	var delivered *DeliveredError
	if !errors.As(err, &settled) && !errors.As(err, &delivered) {
		t.Errorf("late duplicate: %v, want that it is settled", err)
	}
}
