package consensus

import (
	"runtime"

	"github.com/hashicorp/raft"
)

// guardedStore is a store whose writes a guard watches over.
//
// Raft deals with an error of the log, but panics on one of the stable store. A
// stable write that cannot be made therefore ends the goroutine that asks for
// it, which is raft's main one: the server has stopped, and the rest of the
// process learns it from Peer.Failed.
type guardedStore struct {
	store
	guard *guard
}

// StoreLog implements raft.LogStore.
func (s *guardedStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore.
func (s *guardedStore) StoreLogs(logs []*raft.Log) error {
	return s.guard.do("write to the log", func() error { return s.store.StoreLogs(logs) })
}

// DeleteRange implements raft.LogStore.
func (s *guardedStore) DeleteRange(from, to uint64) error {
	return s.guard.do("shorten the log", func() error { return s.store.DeleteRange(from, to) })
}

// Set implements raft.StableStore.
func (s *guardedStore) Set(key, value []byte) error {
	return s.mustDo(func() error { return s.store.Set(key, value) })
}

// SetUint64 implements raft.StableStore.
func (s *guardedStore) SetUint64(key []byte, value uint64) error {
	return s.mustDo(func() error { return s.store.SetUint64(key, value) })
}

func (s *guardedStore) mustDo(write func() error) error {
	if err := s.guard.do("write the term or the vote", write); err != nil {
		runtime.Goexit()
	}
	return nil
}
