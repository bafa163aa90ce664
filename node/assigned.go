package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// assignedFile holds what the network gave to collectors that ask for it, in
// the node's data directory:
//
//	{"version":1,"collectors":{"/srv/in":{"id":"c-1f0a…","port":10100}}}
const assignedFile = "collectors.json"

// assigned is what the network gave to one collector: so it has the same id and
// port after a restart, also while nobody can be asked.
type assigned struct {
	ID   fsm.CollectorID `json:"id"`
	Port int             `json:"port"`
}

// assignedBook keeps them by inbox. Safe for concurrent use.
type assignedBook struct {
	path string

	mu sync.Mutex
	by map[string]assigned // path of the inbox
}

type assignedDocument struct {
	Version    int                 `json:"version"`
	Collectors map[string]assigned `json:"collectors"`
}

// openAssignedBook reads the book of a data directory, or begins one. A damaged
// one is an error: other ids would make the inboxes others' than they were.
func openAssignedBook(dir string) (*assignedBook, error) {
	b := &assignedBook{path: filepath.Join(dir, assignedFile), by: map[string]assigned{}}
	raw, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	var doc assignedDocument
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	if err == nil && doc.Version != 1 {
		err = fmt.Errorf("version %d is unknown", doc.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; restore it, or give each collector id and port in the configuration and remove it", b.path, err)
	}
	for inbox, a := range doc.Collectors {
		if fsm.CheckIdent(string(a.ID)) != nil || a.Port < 0 || a.Port > 65535 {
			return nil, fmt.Errorf("%s: entry of %s makes no sense", b.path, inbox)
		}
		b.by[inbox] = a
	}
	return b, nil
}

func (b *assignedBook) get(inbox string) assigned {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.by[inbox]
}

// put notes what an inbox was given. It is durable when put returns nil.
func (b *assignedBook) put(inbox string, a assigned) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.by[inbox] == a {
		return nil
	}
	next := maps.Clone(b.by)
	next[inbox] = a
	if err := writeDurably(b.path, assignedDocument{Version: 1, Collectors: next}); err != nil {
		return err
	}
	b.by = next
	return nil
}
