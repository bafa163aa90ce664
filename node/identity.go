package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// identity is what <data_dir>/node.json holds: who this node is, for as long
// as its data directory lives. A wiped directory is a new node.
type identity struct {
	NodeID     string `json:"node_id"` // UUID, made once
	Name       string `json:"name"`
	NetworkID  string `json:"network_id"` // empty in a static network
	Generation uint64 `json:"generation"` // grows at each start
	// Leaving is set from before the network is asked to let the node go. A start
	// that finds it set is that of a new node.
	Leaving bool `json:"leaving,omitempty"`
}

const identityFile = "node.json"

// openIdentity reads the node's identity, or makes it, and counts the start.
// The new generation is on stable storage when it returns. A file that can't be
// understood is an error: a new id in its place would be another node.
func openIdentity(dataDir, name string) (identity, error) {
	path := filepath.Join(dataDir, identityFile)
	id, err := readIdentity(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id.NodeID = newNodeID()
	case err != nil:
		return id, err
	case id.Leaving:
		if err := forget(dataDir, name); err != nil {
			return id, err
		}
		if id, err = readIdentity(path); err != nil {
			return id, err
		}
	}
	id.Name = name
	id.Generation++
	return id, writeDurably(path, id)
}

// readIdentity reads the identity that a file holds. fs.ErrNotExist when there is none.
func readIdentity(path string) (id identity, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(raw, &id); err != nil || id.NodeID == "" {
		return id, fmt.Errorf("%s is damaged (%w): restore it, or move it away to become a new node", path, errors.Join(err, errDamaged))
	}
	return id, nil
}

var errDamaged = errors.New("no node id")

// joined notes the network that the node is part of from now on.
func (id *identity) joined(dataDir, networkID string) error {
	next := *id
	next.NetworkID = networkID
	if err := writeDurably(filepath.Join(dataDir, identityFile), next); err != nil {
		return fmt.Errorf("note the network: %w", err)
	}
	*id = next
	return nil
}

// forget makes the directory that of a new node, which has been in no network:
// what a node that has left does, since its id never comes back. The table and
// raft's state go first, so that a crash between leaves a node that has left
// and knows nothing, never a new one with an old state.
func forget(dataDir, name string) error {
	var errs []error
	for _, file := range []string{raftDir, tableFile} {
		errs = append(errs, os.RemoveAll(filepath.Join(dataDir, file)))
	}
	errs = append(errs, syncDir(dataDir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("forget the network: %w", err)
	}
	return writeDurably(filepath.Join(dataDir, identityFile), identity{NodeID: newNodeID(), Name: name})
}

// newNodeID draws a version 4 UUID (RFC 9562).
func newNodeID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// SaveFile puts a file at path that holds what write writes, all of it or
// not at all: partial file beside it, sync, rename, sync of the directory. A
// reader, and whoever looks after a crash, sees the old content or the new. When
// write fails, the old content stays, nothing else is left, and its error is
// returned as it is. Only a regular file is replaced: never a device or a pipe.
func SaveFile(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and no regular file", path)
	}
	tmp := path + "." + newNodeID() + ".partial" // never somebody else's
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp) // what went wrong first is told
		}
	}()
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// writeDurably replaces path by v as JSON: partial file, sync, rename, sync of
// the directory. A reader sees the old content or the new, never a part.
func writeDurably(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return writeFileDurably(path, append(raw, '\n'), 0o640)
}

// writeFileDurably replaces path by data likewise.
func writeFileDurably(path string, data []byte, mode fs.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
