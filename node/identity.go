package node

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
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
}

const identityFile = "node.json"

// openIdentity reads the node's identity, or makes it, and counts the start.
// The new generation is on stable storage when it returns. A file that can't be
// understood is an error: a new id in its place would be another node.
func openIdentity(dataDir, name string) (identity, error) {
	path := filepath.Join(dataDir, identityFile)
	var id identity
	raw, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		id.NodeID = newNodeID()
	case err != nil:
		return id, err
	default:
		if err := json.Unmarshal(raw, &id); err != nil || id.NodeID == "" {
			return id, fmt.Errorf("%s is damaged (%w): restore it, or move it away to become a new node", path, errors.Join(err, errDamaged))
		}
	}
	id.Name = name
	id.Generation++
	return id, writeDurably(path, id)
}

var errDamaged = errors.New("no node id")

// newNodeID draws a version 4 UUID (RFC 9562).
func newNodeID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// writeDurably replaces path by v as JSON: partial file, sync, rename, sync of
// the directory. A reader sees the old content or the new, never a part.
func writeDurably(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, werr := f.Write(append(raw, '\n'))
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
