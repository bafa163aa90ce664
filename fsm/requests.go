package fsm

// maxRequests is how many answered requests are remembered: a request that is
// repeated after more than that many others would be applied again.
const maxRequests = 4096

// requests are the outcomes of the last commands.
type requests struct {
	outcomes map[string]*Outcome // never changed once they are in
	ring     []answered          // at most maxRequests
	oldest   int                 // where the oldest is, when the ring is full
}

// answered is a request with its outcome.
type answered struct {
	reqID   string
	outcome *Outcome
}

func newRequests() *requests { return &requests{outcomes: map[string]*Outcome{}} }

func (r *requests) get(id string) (Outcome, bool) {
	o, ok := r.outcomes[id]
	if !ok {
		return Outcome{}, false
	}
	return *o, true
}

// put remembers an outcome, and forgets the oldest when there are too many.
func (r *requests) put(id string, o Outcome) {
	r.outcomes[id] = &o
	if len(r.ring) < maxRequests {
		r.ring = append(r.ring, answered{id, &o})
		return
	}
	delete(r.outcomes, r.ring[r.oldest].reqID)
	r.ring[r.oldest] = answered{id, &o}
	r.oldest = (r.oldest + 1) % maxRequests
}

// list copies the requests, oldest first.
func (r *requests) list() []answered {
	out := make([]answered, 0, len(r.ring))
	return append(append(out, r.ring[r.oldest:]...), r.ring[:r.oldest]...)
}
