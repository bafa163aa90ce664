package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// pumpAllLocked starts requests for every target, after items were added; those
// for a collector that is backing off are timerLoop's.
func (u *uploader) pumpAllLocked() {
	backingOff := false
	for _, t := range u.targets {
		u.pumpLocked(t)
		backingOff = backingOff || t.breaker.open()
	}
	if backingOff {
		poke(u.rearm)
	}
}

// pumpLocked starts as many requests to t as may run now.
func (u *uploader) pumpLocked(t *target) {
	if u.closing || t.gone {
		return
	}
	for {
		batch := t.take(time.Now(), u.cfg.MaxConn)
		if batch == nil {
			break
		}
		large := batch[0].of.item.Size > smallFile
		if large {
			t.largeSending++
		} else {
			t.smallSending++
		}
		t.itemsSending += len(batch)
		for _, d := range batch {
			d.state = debtSending
		}
		r := request{to: t, peer: t.peer, batch: batch, epochs: t.epochsLocked(batch), large: large,
			resume: large && t.kind != peerOriginal, stranger: t.kind == peerUnknown}
		u.wg.Go(func() { u.deliver(r) })
	}
}

// epochsLocked notes which epochs the collector is about to hear of.
func (t *target) epochsLocked(batch []*debt) map[uint64]bool {
	out := make(map[uint64]bool, 1)
	for _, d := range batch {
		e := d.of.item.ID.Epoch
		if _, ok := t.sentMarks[e]; !ok {
			t.sentMarks[e] = 0
		}
	}
	for e := range t.sentMarks {
		out[e] = true
	}
	return out
}

// request is what one goroutine carries to a collector.
type request struct {
	to     *target
	peer   httpapi.Peer
	batch  []*debt
	epochs map[uint64]bool // about which the collector is told what is settled
	large  bool
	resume bool // the collector may know how much of a file it has
	// stranger says that it may be one of the original's, which must not be asked.
	stranger bool
}

// outcome is what became of one debt in a request.
type outcome struct {
	receipt httpapi.Receipt
	err     error
	local   error // reading or hashing failed on our side; nothing was sent
}

// deliver carries one request: load, send, judge.
func (u *uploader) deliver(r request) {
	outs := make([]outcome, len(r.batch))
	var offers []httpapi.Offer
	var sent []int
	marks := u.marksFor(r.epochs)
	var files []*spool.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for i, d := range r.batch {
		o, f, err := u.load(d)
		if f != nil {
			files = append(files, f)
		}
		if err != nil {
			outs[i].local = err
			continue
		}
		o.Stranger = r.stranger
		o.Settled, o.Resume = marks, r.resume && d.resume && o.Size >= resumable
		offers, sent = append(offers, o), append(sent, i)
	}
	u.hand(r.peer, offers, sent, outs)
	u.judge(r, outs)
}

// hand sends the offers in one request and files the results.
func (u *uploader) hand(peer httpapi.Peer, offers []httpapi.Offer, sent []int, outs []outcome) {
	switch len(offers) {
	case 0:
	case 1:
		r, err := u.send.Put(u.ctx, peer, offers[0])
		outs[sent[0]] = outcome{receipt: r, err: err}
	default:
		results, err := u.send.PutBatch(u.ctx, peer, offers)
		for n, i := range sent {
			switch {
			case n < len(results):
				outs[i] = outcome{receipt: results[n].Receipt, err: results[n].Err}
			case err != nil:
				outs[i].err = err
			default:
				outs[i].err = errNoAnswer
			}
		}
	}
}

var errNoAnswer = errors.New("no answer for this file")

// marksFor picks the marks of the epochs that a collector has heard of, and
// those of earlier runs, about which it may still remember something.
func (u *uploader) marksFor(epochs map[uint64]bool) []httpapi.Mark {
	var out []httpapi.Mark
	for _, m := range u.outbox.Marks() {
		if epochs[m.Epoch] || m.Seq == spool.Closed {
			out = append(out, httpapi.Mark{Epoch: m.Epoch, Seq: m.Seq})
		}
	}
	return out
}

// load opens a claimed file and makes the offer. A small file is read into
// memory and hashed there; a large one is hashed once before it is offered,
// since the digest goes in front of the bytes, and its file stays open.
func (u *uploader) load(d *debt) (httpapi.Offer, *spool.File, error) {
	t := d.of
	f, err := u.outbox.Open(t.item)
	if err != nil {
		return httpapi.Offer{}, nil, err
	}
	o := httpapi.Offer{
		ID: t.item.ID.String(), Name: t.item.Name, Size: f.Size(), MTime: t.item.MTime,
		Cluster: string(d.cluster), Hops: f.Hops(),
		PossibleDuplicate: d.duplicate,
	}
	if f.Size() > smallFile {
		o.Digest, err = u.hashLarge(t, f)
		o.Body = f
		return o, f, err
	}
	buf := make([]byte, f.Size())
	if _, err = io.ReadFull(io.NewSectionReader(f, 0, f.Size()), buf); err == nil {
		err = f.Unchanged()
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: it became shorter", spool.ErrChanged)
	}
	_ = f.Close()
	o.Digest, o.Body = sha256.Sum256(buf), bytes.NewReader(buf)
	return o, nil, err
}

// hashLarge returns the digest of a large file, from memory if the file did
// not change since it was last hashed.
func (u *uploader) hashLarge(t *tracked, f *spool.File) (sum [32]byte, err error) {
	if err := f.Unchanged(); err != nil {
		t.digest.Store(nil)
		return sum, err
	}
	if d := t.digest.Load(); d != nil && d.size == f.Size() {
		return d.sum, nil
	}
	h := sha256.New()
	if _, err := copyCtx(u.ctx, h, io.NewSectionReader(f, 0, f.Size())); err != nil {
		return sum, err
	}
	if err := f.Unchanged(); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	t.digest.Store(&digestOf{sum: sum, size: f.Size()})
	return sum, nil
}

// copyCtx is io.Copy that ends with ctx.
func copyCtx(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := r.Read(buf)
		if k > 0 {
			if _, werr := w.Write(buf[:k]); werr != nil {
				return n, werr
			}
			n += int64(k)
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
