package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// onDisk gives back the real directory behind a dir, for operations between two.
func onDisk(d dir) (*osDir, error) {
	if w, ok := d.(interface{ unwrap() dir }); ok {
		return onDisk(w.unwrap())
	}
	o, ok := d.(*osDir)
	if !ok {
		return nil, fmt.Errorf("%w: %T is not on a disk", ErrUnsafe, d)
	}
	return o, nil
}

// osLister reads a directory through a descriptor of its own.
type osLister struct{ f *os.File }

func (l osLister) Next(n int) ([]entry, error) {
	des, err := l.f.ReadDir(n)
	if err != nil {
		return nil, err
	}
	out := make([]entry, len(des))
	for i, de := range des {
		out[i] = entry{name: de.Name(), typ: de.Type()}
	}
	return out, nil
}

func (l osLister) Close() error { return l.f.Close() }

// listChunk is how many names are read from a directory at a time.
const listChunk = 1024

// eachEntry calls visit for every entry of a directory, in no order, reading it
// in chunks. An error of visit ends the walk.
func eachEntry(d dir, visit func(entry) error) error {
	l, err := d.List()
	if err != nil {
		return err
	}
	for {
		es, err := l.Next(listChunk)
		for _, e := range es {
			if err := visit(e); err != nil {
				return errors.Join(err, l.Close())
			}
		}
		if errors.Is(err, io.EOF) {
			return l.Close()
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
	}
}
