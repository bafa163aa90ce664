package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

const (
	// followWait is how long one question for a newer table may stay open.
	followWait = 20 * time.Second
	// followAnswer is how much longer than that an answer may take.
	followAnswer = 5 * time.Second
	// Pauses after a server that did not answer.
	followPauseMin = 100 * time.Millisecond
	followPauseMax = 5 * time.Second
)

// follower keeps the node's table as new as that of other nodes, by long poll.
// Its methods are for one goroutine.
type follower struct {
	tables  *assignments
	log     *slog.Logger
	wait    time.Duration
	clients *clientPool
	servers func() []string     // to ask, as host:port or URL, best first; may change
	report  func(reason string) // told why no table comes; empty when it does
	// belongs says whether a table of that network may be taken over.
	belongs func(networkID string) error
	// foreign is tried at a server that does not speak our API; nil tries nothing.
	// It bounds what it waits for by itself.
	foreign func(ctx context.Context, server *httpapi.Client) error
	ours    func(server string) // told of a server that does; nil is told nothing
	spread  string              // spreads the followers over the servers; their order when empty

	server  string // the one asked last
	checked string // the one whose network was looked at
	failed  int    // servers in a row that did not answer
}

// follow asks for newer tables until ctx ends or wanted is false. It stays with
// a server that answers and goes on to the next when one does not.
func (f *follower) follow(ctx context.Context, wanted func() bool) {
	for ctx.Err() == nil && wanted() {
		servers := f.servers()
		if len(servers) == 0 {
			f.report("no node in sight has the table")
			f.pause(ctx)
			continue
		}
		f.server = f.next(servers)
		err := f.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.failed = 0
			f.report("")
			continue
		}
		if f.failed == 0 {
			f.log.Warn("table can't be followed, sending by the last one", "server", f.server, "err", err)
		}
		f.failed++
		f.report(fmt.Sprintf("the table cannot be followed: %v", err))
		f.pause(ctx)
	}
}

// next is the server to ask: the last one while it answers and is there, else
// another. Followers begin at different ones.
func (f *follower) next(servers []string) string {
	if f.spread != "" {
		slices.SortFunc(servers, func(a, b string) int { return cmp.Compare(f.place(a), f.place(b)) })
	}
	at := slices.Index(servers, f.server)
	if at >= 0 && f.failed == 0 {
		return f.server
	}
	return servers[(at+1)%len(servers)]
}

func (f *follower) place(server string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(f.spread + "\x00" + server)) // never fails
	return h.Sum64()
}

// ask waits at the server for a table above the one at hand. The first question
// to a server is answered at once: also one that has nothing new is there.
func (f *follower) ask(ctx context.Context) error {
	c, err := f.clients.get(f.server)
	if err != nil {
		return err
	}
	wait := f.wait
	if f.checked != f.server || f.failed > 0 {
		err := f.check(ctx, c)
		if err != nil && f.foreign != nil && isForeign(err) {
			return f.foreign(ctx, c)
		}
		if err != nil {
			return err
		}
		wait = 0
	}
	ctx, cancel := context.WithTimeout(ctx, wait+wait/16+followAnswer)
	defer cancel()
	index := f.tables.index()
	doc, err := c.Clusters(ctx, index, wait)
	if err != nil {
		return err
	}
	table, err := doc.Table()
	if err != nil {
		return err
	}
	if table.Index < index {
		return fmt.Errorf("%s: %w: %d, not %d", c.Addr(), errBehind, table.Index, index)
	}
	f.tables.offer(table)
	return nil
}

// errBehind is returned when a server has an older table than this node.
var errBehind = errors.New("its table is older than ours")

// check looks whether a server is of the right network. It is not to wait for
// anything, so one that is silent is found out soon.
func (f *follower) check(ctx context.Context, c *httpapi.Client) error {
	ctx, cancel := context.WithTimeout(ctx, followAnswer)
	defer cancel()
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if err := f.belongs(st.NetworkID); err != nil {
		return fmt.Errorf("%s: %w", c.Addr(), err)
	}
	f.checked = f.server
	if f.ours != nil {
		f.ours(c.Addr())
	}
	return nil
}

// isForeign reports whether an answer came, but none of our API. The page of a
// proxy that reaches no server behind it is none: those may well be ours.
func isForeign(err error) bool {
	p, refused := errors.AsType[*httpapi.Problem](err)
	return errors.Is(err, httpapi.ErrForeign) ||
		refused && p.Unwrap() == nil && p.Code == "http" && (p.Status < 500 || p.Status == http.StatusNotImplemented)
}

// pause waits longer the more servers failed in a row.
func (f *follower) pause(ctx context.Context) {
	wait := min(followPauseMin<<min(f.failed, 10), followPauseMax)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
