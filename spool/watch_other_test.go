//go:build !linux

package spool

import "testing"

func (o *Outbox) mustWatchByHand(t *testing.T) { t.Skip("events are for Linux") }
