package spool

import "sync"

// hintKind is what an event told about a name; the last event decides.
type hintKind uint8

const (
	hintNone    hintKind = iota // found by a pass, or written to
	hintCreated                 // appeared, and nothing was written to it since
	hintMoved                   // renamed into the outbox
)

// hints are the names that events told of and nobody looked at yet, first come
// first. There are at most max; when it is full, all are dropped for one pass
// over the directory, which finds them too. Safe for concurrent use.
type hints struct {
	mu    sync.Mutex
	max   int
	kinds map[string]hintKind
	order []string // each name in kinds once
	lost  bool     // names were dropped
}

func (h *hints) init(max int) {
	h.max = max
	h.kinds = map[string]hintKind{}
}

// add notes an event and reports whether somebody should be woken for it.
func (h *hints) add(name string, kind hintKind) bool {
	if silentName(name) {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.kinds[name]; !known {
		if len(h.kinds) >= h.max {
			h.dropLocked()
			return true
		}
		h.order = append(h.order, name)
	}
	h.kinds[name] = kind
	return true
}

// overflow says that the system dropped events of its own.
func (h *hints) overflow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropLocked()
}

// dropLocked forgets all names. What is left of them could be wrong: a name
// whose later events were dropped may look as if nothing was written to it.
func (h *hints) dropLocked() {
	h.kinds = map[string]hintKind{}
	h.order = nil
	h.lost = true
}

// takeLost reports, once, whether names were dropped.
func (h *hints) takeLost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	lost := h.lost
	h.lost = false
	return lost
}

// next takes the first name out.
func (h *hints) next() (name string, kind hintKind, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.order) == 0 {
		return "", hintNone, false
	}
	name = h.order[0]
	h.order = h.order[1:]
	if len(h.order) == 0 {
		h.order = nil // gives the array back
	}
	kind = h.kinds[name]
	delete(h.kinds, name)
	return name, kind, true
}

func (h *hints) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.order)
}

// newsOf reports whether there was an event for the name since it was taken
// out, or may have been one.
func (h *hints) newsOf(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, known := h.kinds[name]
	return known || h.lost
}
