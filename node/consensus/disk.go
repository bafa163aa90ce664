package consensus

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// store is the log and raft's few other values, durable when a call returns.
type store interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// disk is what stands between a Peer and its disk, so that tests can let it fail.
type disk struct {
	open  func(path string) (store, error)
	probe func(f *os.File) error
}

func (d disk) withDefaults() disk {
	if d.open == nil {
		d.open = openBolt
	}
	if d.probe == nil {
		d.probe = probe
	}
	return d
}

// Files in Config.Dir, beside the directory snapshots.
const (
	storeFile = "raft.db"
	probeFile = "probe"
)

// openBolt opens or makes the store. ErrRunning when another process has it.
func openBolt(path string) (store, error) { return openBoltMode(path, false) }

func openBoltMode(path string, readOnly bool) (store, error) {
	s, err := raftboltdb.New(raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout:        lockTimeout, // the default waits for ever
			NoFreelistSync: true,        // the freelist is the greater part of every commit otherwise
			FreelistType:   bbolt.FreelistMapType,
			ReadOnly:       readOnly,
		},
		MsgpackUseNewTimeFormat: true,
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, ErrRunning
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// lockTimeout is how long the store may be locked by a process that is just ending.
const lockTimeout = time.Second

// probe writes a byte and syncs it, in place, so that a full disk does not fail it.
func probe(f *os.File) error {
	if _, err := f.WriteAt([]byte{'.'}, 0); err != nil {
		return err
	}
	return f.Sync()
}

func openProbe(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, probeFile), os.O_RDWR|os.O_CREATE, 0o600)
}
