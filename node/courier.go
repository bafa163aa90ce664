package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// CourierConfig says where a [Courier] delivers and how long it tries. Names of
// clusters and collectors are plain strings here and in what it reports, as on
// the wire: those who call it do not know package fsm.
type CourierConfig struct {
	Source  CourierSource // who knows the collectors; needed
	Cluster string        // the name of the target; needed

	// Timeout is how long a collector may fail without getting further before
	// it is given up. 0 gives up at the first failure that no other collector
	// can make good.
	Timeout time.Duration
	// Parallel is how many files are under way at once. Less than 1 means 1.
	Parallel int
}

// CourierProgress is told how a delivery goes on, by several goroutines at once.
// Each call holds up the file that it is about, so it should return quickly.
type CourierProgress interface {
	// Expect says that there are so many more bytes to send; fewer if negative.
	Expect(bytes int64)
	// Reading says how far a file has been read for its digest, in bytes.
	Reading(file string, upTo, size int64)
	// Moved says that so many more bytes were sent. It is negative when an
	// attempt begins again further back than the last one came.
	Moved(bytes int64)
	// Waits says that an attempt failed and that the next follows after pause.
	Waits(file string, collector string, err error, pause time.Duration)
}

// Delivery is what became of one file.
type Delivery struct {
	File    string // as it was given
	Name    string // as it was sent; empty if the file could not be read
	Cluster string // where it was to go
	Size    int64  // in bytes; 0 if the file could not be read
	SHA256  string // in hexadecimal; empty if the file could not be read

	Receipts []httpapi.Receipt // of those that have it, sorted by collector; never nil
	Errors   map[string]error  // by collector, why the others do not; "" stands for the file itself
	Took     time.Duration     // from the first look at the file; 0 if nothing was sent
}

// Arrived reports whether every collector that was owed the file has it.
func (d Delivery) Arrived() bool { return len(d.Errors) == 0 && len(d.Receipts) > 0 }

// Courier hands files to the collectors of one cluster without an outbox. The
// files stay where they are, and nothing is remembered: what is not delivered
// when the process ends is not delivered.
//
// The ids are foreign to the collectors' ledgers, which remember them for a day
// and then forget them: there will never be a settled mark for them. Within one
// Send no collector publishes a file twice; another Send sends it again.
type Courier struct {
	cfg    CourierConfig
	sender *httpapi.Sender
	table  *courierTable

	mu    sync.Mutex
	posts map[fsm.CollectorID]*courierPost // guarded by mu, like what it points to
}

// courierPost is what a courier knows of one collector.
type courierPost struct {
	inFlight int
	failing  time.Time // since when every attempt failed; zero when the last one did not
}

// errUnsent ends the goroutine of a file that did not arrive everywhere.
var errUnsent = errors.New("not acknowledged by all")

// OpenCourier looks the cluster up, so that a wrong name is told before any file
// is touched, and returns a courier for it. The caller closes it.
//
// The error is that of the source, or says which clusters there are.
func OpenCourier(ctx context.Context, cfg CourierConfig) (*Courier, error) {
	table := &courierTable{source: cfg.Source, name: cfg.Cluster}
	if _, err := table.look(ctx); err != nil {
		return nil, err
	}
	return &Courier{
		cfg: cfg, table: table, sender: httpapi.NewSender(httpapi.DefaultSenderConfig()),
		posts: make(map[fsm.CollectorID]*courierPost),
	}, nil
}

// Close drops the connections to the collectors. It may be called once no Send
// is running.
func (c *Courier) Close() { c.sender.Close() }

// Send hands over files, some of them at once, and reports whether every one
// arrived.
//
// done is called for each file when it is over, by several goroutines at once
// and in no order. Send returns when all of that has returned. When ctx ends,
// what is not acknowledged yet fails.
func (c *Courier) Send(ctx context.Context, files []string, progress CourierProgress, done func(Delivery)) bool {
	var group errgroup.Group
	group.SetLimit(max(1, c.cfg.Parallel))
	guesses := c.survey(ctx, files, progress)
	run := strings.ToLower(rand.Text()) // 128 random bits name this call in the ids
	for n, path := range files {
		group.Go(func() error {
			t := trip{Courier: c, progress: progress, path: path, id: fmt.Sprintf("send-%s-%d", run, n+1)}
			d := t.deliver(ctx, guesses[n])
			done(d)
			if !d.Arrived() {
				return errUnsent
			}
			return nil
		})
	}
	return group.Wait() == nil
}

// survey looks at the files for how many bytes there will be to send, and
// returns that for each. What cannot be sent counts as nothing.
func (c *Courier) survey(ctx context.Context, files []string, progress CourierProgress) []int64 {
	guesses := make([]int64, len(files))
	cluster, err := c.table.look(ctx)
	if err != nil {
		return guesses
	}
	total := int64(0)
	for i, path := range files {
		stat, err := statRegular(path)
		if err != nil {
			continue
		}
		if owed, err := c.owed(cluster, path); err == nil {
			guesses[i] = stat.Size() * int64(len(owed))
			total += guesses[i]
		}
	}
	progress.Expect(total)
	return guesses
}

// trip is the way of one file to all that it is owed to. One goroutine uses it,
// which starts one for each copy and waits for them.
type trip struct {
	*Courier
	progress CourierProgress
	path     string
	id       string // the Idempotency-Key of the file, the same for every collector
}

// deliver hands over the file. The progress expects guess bytes of it so far.
func (t trip) deliver(ctx context.Context, guess int64) Delivery {
	start := time.Now()
	d := Delivery{File: t.path, Cluster: t.cfg.Cluster, Receipts: []httpapi.Receipt{}}
	p, err := openParcel(ctx, t.path, t.progress)
	if err == nil {
		defer func() { _ = p.file.Close() }() // only ever read
		d.Name, d.Size, d.SHA256 = p.name, p.stat.Size(), hex.EncodeToString(p.digest[:])
		err = t.copies(ctx, p, guess, &d)
	}
	if err != nil {
		t.progress.Expect(-guess)
		d.Errors = map[string]error{"": err}
		return d
	}
	d.Took = time.Since(start)
	return d
}

// copies hands the parcel to each of those it is owed to, side by side, and
// notes in d what became of it. An error means that nothing was sent.
func (t trip) copies(ctx context.Context, p *parcel, guess int64, d *Delivery) error {
	cluster, err := t.table.look(ctx)
	if err != nil {
		return err
	}
	owed, err := t.owed(cluster, p.name)
	if err != nil {
		return err
	}
	t.progress.Expect(p.stat.Size()*int64(len(owed)) - guess)
	var mu sync.Mutex // guards d
	var wg sync.WaitGroup
	for _, choice := range owed {
		wg.Go(func() {
			h := handover{trip: t, parcel: p, choice: choice, failoverAfter: failoverOf(cluster)}
			receipt, err := h.run(ctx)
			mu.Lock()
			defer mu.Unlock()
			d.note(string(h.to()), receipt, err)
		})
	}
	wg.Wait()
	slices.SortFunc(d.Receipts, func(a, b httpapi.Receipt) int { return cmp.Compare(a.Collector, b.Collector) })
	return nil
}

// note files what became of one copy.
func (d *Delivery) note(to string, r httpapi.Receipt, err error) {
	if err == nil {
		d.Receipts = append(d.Receipts, r)
		return
	}
	if d.Errors == nil {
		d.Errors = make(map[string]error)
	}
	d.Errors[to] = err
}

// postLocked returns what is known of a collector.
func (c *Courier) postLocked(id fsm.CollectorID) *courierPost {
	if c.posts[id] == nil {
		c.posts[id] = new(courierPost)
	}
	return c.posts[id]
}
