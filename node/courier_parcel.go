package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

var (
	errNotRegular = errors.New("not a regular file")
	errChanged    = errors.New("it changed while it was being sent; send it when it is complete")
)

// parcel is one open file on its way to a cluster. After openParcel it does not
// change, so every copy may use it at once.
type parcel struct {
	path   string // as it was given
	name   string // as it is sent
	file   *os.File
	stat   fs.FileInfo // when it was opened
	digest httpapi.Digest
}

// openParcel opens a file and computes its digest, of which it tells progress.
// The caller closes the file.
//
// The errors name the cause without the path. They wrap errNotRegular for what
// is no file, errChanged for one that is still being written, and are
// errInterrupted when ctx ends.
func openParcel(ctx context.Context, path string, progress CourierProgress) (*parcel, error) {
	if _, err := statRegular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	p := &parcel{path: path, name: filepath.Base(path), file: f}
	if err := p.read(ctx, progress); err != nil {
		_ = f.Close() // only ever read
		return nil, err
	}
	return p, nil
}

// read computes the digest of the bytes that are there now.
func (p *parcel) read(ctx context.Context, progress CourierProgress) (err error) {
	if p.stat, err = p.file.Stat(); err != nil {
		return cause(err)
	}
	if err := checkRegular(p.stat); err != nil {
		return err
	}
	h := sha256.New()
	upTo := int64(0)
	count := writerFunc(func(b []byte) (int, error) {
		upTo += int64(len(b))
		progress.Reading(p.path, upTo, p.stat.Size())
		return len(b), nil
	})
	_, err = copyCtx(ctx, io.MultiWriter(h, count), p.file)
	if ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return cause(err)
	}
	h.Sum(p.digest[:0])
	return p.unchanged()
}

// unchanged returns errChanged when the file is not as it was when it was read.
func (p *parcel) unchanged() error {
	now, err := p.file.Stat()
	if err != nil {
		return cause(err)
	}
	if now.Size() != p.stat.Size() || !now.ModTime().Equal(p.stat.ModTime()) {
		return errChanged
	}
	return nil
}

// offer makes the offer of the whole file, without id and cluster; read is told
// of every read of it.
func (p *parcel) offer(read func(upTo int64)) httpapi.Offer {
	return httpapi.Offer{
		Name: p.name, Size: p.stat.Size(), Digest: p.digest, MTime: p.stat.ModTime().UTC(),
		Body: readerAtFunc(func(b []byte, off int64) (int, error) {
			n, err := p.file.ReadAt(b, off)
			read(off + int64(n))
			return n, err
		}),
	}
}

// statRegular refuses what is no regular file. A symbolic link stands for the
// file it leads to. It comes before the file is opened: opening a FIFO would
// wait for its other end.
func statRegular(path string) (fs.FileInfo, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	return stat, checkRegular(stat)
}

// checkRegular returns errNotRegular, with what it is instead, for all but a file.
func checkRegular(stat fs.FileInfo) error {
	switch mode := stat.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%w but a directory", errNotRegular)
	case mode&fs.ModeNamedPipe != 0:
		return fmt.Errorf("%w but a named pipe", errNotRegular)
	case mode&fs.ModeSocket != 0:
		return fmt.Errorf("%w but a socket", errNotRegular)
	case mode&fs.ModeDevice != 0:
		return fmt.Errorf("%w but a device", errNotRegular)
	}
	return errNotRegular
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

type readerAtFunc func([]byte, int64) (int, error)

func (f readerAtFunc) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }
