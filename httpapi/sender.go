package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// SenderConfig says how a [Sender] behaves. The zero value of a field stands
// for its default.
type SenderConfig struct {
	// NodeID is added to the hops of every file, so that one that goes round in
	// circles is noticed. Empty adds nothing.
	NodeID string
	// MaxConn is how many idle connections are kept per collector; default 30.
	// It limits nothing: how much is sent at once is for the caller to say.
	MaxConn int
	// DialTimeout bounds name lookup and TCP handshake; default 500 ms.
	DialTimeout time.Duration
	// FirstByte is how long the collector may take to answer an empty file;
	// default 5 s. See MinGoodput.
	FirstByte time.Duration
	// Stall is how long the collector may take nothing of a body; default 5 s.
	Stall time.Duration
	// MinGoodput, in bytes per second, adds to FirstByte the time that a
	// collector may take to bring a file to its disk, which it does before it
	// answers; default 8 MiB/s.
	MinGoodput int64
	// Logger gets what is odd but harmless, at debug level; nil discards.
	Logger *slog.Logger
}

// DefaultSenderConfig returns the defaults of design 4.5.
func DefaultSenderConfig() SenderConfig {
	return SenderConfig{
		MaxConn: 30, DialTimeout: 500 * time.Millisecond,
		FirstByte: 5 * time.Second, Stall: 5 * time.Second, MinGoodput: 8 << 20,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func (c SenderConfig) withDefaults() SenderConfig {
	d := DefaultSenderConfig()
	if c.MaxConn <= 0 {
		c.MaxConn = d.MaxConn
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = d.DialTimeout
	}
	if c.FirstByte <= 0 {
		c.FirstByte = d.FirstByte
	}
	if c.Stall <= 0 {
		c.Stall = d.Stall
	}
	if c.MinGoodput <= 0 {
		c.MinGoodput = d.MinGoodput
	}
	if c.Logger == nil {
		c.Logger = d.Logger
	}
	return c
}

const (
	// expectAbove is the size in bytes above which a file is announced before it
	// is sent (Expect: 100-continue), so that a duplicate costs no body. Up to
	// this size a body is read into memory and goes out with its headers.
	expectAbove = 64 << 10
	// maxGoAhead is how long a PUT waits for the go-ahead of a collector that
	// may not know the expectation at all.
	maxGoAhead = time.Second
)

// Peer is a collector's endpoint.
type Peer struct {
	Base string // http://host:port
}

// Offer is a file to hand over. Body gives its Size bytes, whose digest is
// Digest: the sender computes nothing, the collector checks. Body may be read by
// several goroutines one after the other, but never after the call returned.
type Offer struct {
	ID                string // 1–128 printable ASCII characters; needed
	Name              string
	Size              int64
	Digest            Digest
	MTime             time.Time // zero is left out
	Cluster           string
	Hops              string // as Relay-Hops came with the file; "" for none
	PossibleDuplicate bool
	Settled           []Mark
	// Resume asks the collector first how much of the file it has. Set it after
	// an attempt that was cut; it costs a request.
	Resume bool
	// Stranger says that the peer was not spoken to yet, and may be one of the
	// original's, which must not be asked.
	Stranger bool
	Body     io.ReaderAt
}

// meta renders what goes into the headers.
func (s *Sender) meta(o Offer) Meta {
	m := Meta{
		Key: o.ID, Digest: &o.Digest, MTime: o.MTime, Cluster: o.Cluster,
		Settled: o.Settled, PossibleDuplicate: o.PossibleDuplicate,
	}
	if o.Hops != "" {
		hops, err := parseHops(o.Hops)
		if err != nil {
			// Whoever can write the outbox can write this; it must not stop the file.
			s.cfg.Logger.Debug("hops of a file cannot be read", "item", o.ID, "err", err)
		}
		m.Hops = hops
	}
	if s.cfg.NodeID != "" {
		m.Hops = append(m.Hops, s.cfg.NodeID)
	}
	return m
}

// check finds what no collector could make good.
func (o Offer) check() error {
	switch {
	case o.Name == "":
		return errors.New("no name")
	case o.Size < 0:
		return fmt.Errorf("size %d", o.Size)
	case o.Size > 0 && o.Body == nil:
		return errors.New("no body")
	}
	if key, err := parseKey(formatKey(o.ID)); err != nil || key != o.ID {
		return fmt.Errorf("id %.200q cannot travel in a header", o.ID)
	}
	return nil
}

// Sender hands files over to collectors. It is safe for concurrent use. It
// follows no redirect, uses no proxy and never decides to send anywhere else:
// errors are [*SendError], whose Outcome tells the caller what it may do.
type Sender struct {
	cfg SenderConfig
	// keep reuses connections. once makes a new one for each request; it serves
	// the retry after a connection that had died unnoticed. patient does so too,
	// and waits for the go-ahead for as long as the request's own clock allows.
	keep, once, patient *http.Transport
}

// NewSender returns a sender, which connects to nothing yet.
func NewSender(cfg SenderConfig) *Sender {
	cfg = cfg.withDefaults()
	dial := dialConfig{
		dialTimeout: cfg.DialTimeout, stall: cfg.Stall, maxIdle: cfg.MaxConn,
		expect: min(maxGoAhead, cfg.FirstByte),
	}
	s := &Sender{cfg: cfg, keep: newTransport(dial)}
	dial.oneShot = true
	s.once = newTransport(dial)
	dial.expect = 24 * time.Hour
	s.patient = newTransport(dial)
	return s
}

// Close closes idle connections. Calls under way go on, and end with their
// contexts.
func (s *Sender) Close() {
	for _, t := range []*http.Transport{s.keep, s.once, s.patient} {
		t.CloseIdleConnections()
	}
}

// Put hands one file over. A nil error means that the collector published it
// durably: the receipt was checked against the offer's id, size and digest –
// or, when Receipt.Original is set, that the peer is the original's collector,
// which says just "success" and promises less.
//
// Any other end is a [*SendError]. Put does not try again, save for one case: a
// connection kept from an earlier request was found closed. Sending the same id
// twice is harmless at a collector of ours.
func (s *Sender) Put(ctx context.Context, peer Peer, o Offer) (Receipt, error) {
	if err := o.check(); err != nil {
		return Receipt{}, &SendError{Outcome: Permanent, Code: CodeBadOffer, Detail: err.Error(), Err: err}
	}
	switch {
	case o.Resume && o.Size > 0 && o.Stranger:
		return s.offerFromStart(ctx, peer, o)
	case o.Resume && o.Size > 0:
		return s.resume(ctx, peer, o)
	}
	return s.put(ctx, peer, o, o.Size > expectAbove)
}

// put sends the whole file. announced asks for the go-ahead first.
func (s *Sender) put(ctx context.Context, peer Peer, o Offer, announced bool) (Receipt, error) {
	return s.putWith(ctx, peer, o, announced, nil)
}

// putWith is put with further headers, if add is not nil. With them the answer
// may also be an *OffsetError.
func (s *Sender) putWith(ctx context.Context, peer Peer, o Offer, announced bool, add func(http.Header)) (Receipt, error) {
	req, err := newRequest(http.MethodPut, peer, o.Name)
	if err != nil {
		return Receipt{}, err
	}
	s.meta(o).set(req.Header)
	if add != nil {
		add(req.Header)
	}
	if announced {
		req.Header.Set("Expect", "100-continue")
	}
	t, err := s.roundTrip(ctx, s.keep, exchange{
		req: req, body: offerBody(o, 0), size: o.Size, inline: !announced && o.Size <= expectAbove,
		wait: s.answerTime(o.Size),
	})
	if err != nil {
		return Receipt{}, err
	}
	r, err := t.receipt(o)
	if moved, ok := errors.AsType[*OffsetError](patchFailed(err, t.resp.Header)); ok && add != nil {
		return Receipt{}, moved
	}
	return r, err
}

// answerTime is how long the collector may take to answer once it has size
// bytes: it syncs them to its disk first.
func (s *Sender) answerTime(size int64) time.Duration {
	return s.cfg.FirstByte + time.Duration(float64(size)/float64(s.cfg.MinGoodput)*float64(time.Second))
}

// newRequest makes a request for a file of a peer; an empty name is the peer
// itself. Its error is a *SendError.
func newRequest(method string, peer Peer, name string) (*http.Request, error) {
	u, err := url.Parse(peer.Base)
	if err == nil && (u.Scheme != "http" || u.Host == "") {
		err = fmt.Errorf("%q: want http://host:port", peer.Base)
	}
	if err != nil {
		return nil, &SendError{Outcome: Refused, Code: CodeUnreachable, Detail: err.Error(), Err: err}
	}
	u.Path, u.RawPath = "/"+name, escapeName(name)
	req := &http.Request{
		Method: method, URL: u, Host: u.Host, Header: make(http.Header, 12),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, // else the transport ignores Expect
	}
	req.Header.Set("User-Agent", "bucket-relay")
	return req, nil
}

// offerBody reads the file from an offset on.
func offerBody(o Offer, from int64) func(http.Header) io.Reader {
	return func(http.Header) io.Reader { return io.NewSectionReader(o.Body, from, o.Size-from) }
}
