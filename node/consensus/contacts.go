package consensus

import (
	"log/slog"
	"sync"
	"time"
)

// contacts is what is known of the peers' answers. Safe for concurrent use.
type contacts struct {
	log *slog.Logger
	mu  *sync.Mutex
	by  map[string]*contact // by node id; never more than were ever in the configuration
}

type contact struct {
	last  time.Time     // of the last answer; zero: none yet
	acked uint64        // index of the last entry acknowledged; 0: none yet
	at    time.Time     // when that was; zero: none yet
	vouch time.Time     // when the latest request was sent that it answered as its leader's; zero: none yet
	back  chan struct{} // nil while it answers, else closed when it does again
}

func newContacts(log *slog.Logger) contacts {
	return contacts{log: log, mu: new(sync.Mutex), by: make(map[string]*contact)}
}

func (c contacts) ofLocked(id string) *contact {
	k := c.by[id]
	if k == nil {
		k = &contact{}
		c.by[id] = k
	}
	return k
}

// note records the outcome of a request: any answer is contact.
func (c contacts) note(id string, err error) {
	if changed := c.noted(id, err); !changed {
		return
	}
	if err != nil {
		c.log.Warn("raft peer does not answer", "peer", id, "err", err)
		return
	}
	c.log.Info("raft peer answers", "peer", id)
}

// noted reports whether the peer answers no more, or again.
func (c contacts) noted(id string, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.ofLocked(id)
	if err != nil {
		if k.back != nil {
			return false
		}
		k.back = make(chan struct{})
		return true
	}
	k.last = time.Now()
	if k.back == nil {
		return false
	}
	close(k.back)
	k.back = nil
	return true
}

// acknowledged records that the peer has the log up to index. It may be lower
// than before, when the peer's log was cut.
func (c contacts) acknowledged(id string, index uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.ofLocked(id)
	k.acked, k.at = index, time.Now()
}

// follows reports whether the peer has acknowledged entries after that time, be it
// none that are new.
func (c contacts) follows(id string, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.by[id]
	return k != nil && k.at.After(since)
}

// vouched records that the peer has answered, as its leader's, a request sent then.
func (c contacts) vouched(id string, sent time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.ofLocked(id); sent.After(k.vouch) {
		k.vouch = sent
	}
}

// vouches reports whether the peer has answered, as its leader's, a request sent
// at that time or later.
func (c contacts) vouches(id string, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.by[id]
	return k != nil && !k.vouch.IsZero() && !k.vouch.Before(since)
}

// down returns nil while the peer answers, else what is closed when it does again.
func (c contacts) down(id string) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ofLocked(id).back
}

// seen tells when the peer last answered and what it acknowledged.
func (c contacts) seen(id string) (last time.Time, acked uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.by[id]
	if k == nil {
		return time.Time{}, 0
	}
	return k.last, k.acked
}
