package fsm

import "time"

const (
	maxSkipPorts = 1000
	// DefaultHeartbeat is how often an external collector is to be heard of that
	// says nothing else.
	DefaultHeartbeat = 10 * time.Second
	minHeartbeat     = time.Second
	maxHeartbeat     = 24 * time.Hour
)

// collectorPut registers a collector: see CollectorPut.
func (s *state) collectorPut(index uint64, at time.Time, b CollectorPut) (Result, error) {
	if err := b.check(); err != nil {
		return Result{}, err
	}
	next := Collector{
		ID: b.ID, Cluster: b.Cluster, Node: b.Node, Address: b.Address, Port: b.Port,
		State: StateActive, External: b.External,
	}
	old, known, err := s.registered(b)
	switch {
	case err != nil:
		return Result{}, err
	case known:
		next.ID, next.State = old.ID, old.State
	case b.ID == "":
		next.ID = b.NewID
	}
	if err := s.givePort(&next, old, known, b); err != nil {
		return Result{}, err
	}
	if b.External {
		s.beat(next.ID, at, b.every())
	} else {
		delete(s.beats, next.ID)
	}
	if known && next == old {
		return Result{Collector: old}, nil
	}
	s.setCollector(index, next)
	return Result{Changed: true, Collector: next}, nil
}

// check judges the command by itself.
func (b CollectorPut) check() error {
	if err := CheckIdent(string(b.Cluster)); err != nil {
		return fail(ErrInvalid, "cluster %v", err)
	}
	id := b.ID
	if id == "" {
		id = b.NewID
	}
	if err := CheckIdent(string(id)); err != nil {
		return fail(ErrInvalid, "collector id %v", err)
	}
	if b.Node != "" {
		if err := CheckIdent(b.Node); err != nil {
			return fail(ErrInvalid, "node id %v", err)
		}
	}
	if err := checkAddress(b.Address); err != nil {
		return fail(ErrInvalid, "%v", err)
	}
	switch {
	case b.Port < 0 || b.Port > maxPort || b.PortStart < 0 || b.PortStart > maxPort:
		return fail(ErrInvalid, "port %d, counted from %d", b.Port, b.PortStart)
	case len(b.SkipPorts) > maxSkipPorts:
		return fail(ErrInvalid, "%d ports to skip, want at most %d", len(b.SkipPorts), maxSkipPorts)
	case b.EveryMS != 0 && (b.EveryMS < minHeartbeat.Milliseconds() || b.EveryMS > maxHeartbeat.Milliseconds()):
		return fail(ErrInvalid, "heartbeat every %d ms, want %s to %s", b.EveryMS, minHeartbeat, maxHeartbeat)
	case !b.External && b.Node == "":
		return fail(ErrInvalid, "a collector without a node has to be external")
	}
	return nil
}

func (b CollectorPut) every() time.Duration {
	if b.EveryMS == 0 {
		return DefaultHeartbeat
	}
	return time.Duration(b.EveryMS) * time.Millisecond
}

// registered finds the collector that a registration is about. ErrTaken when
// the id that it has, or would be given, is another node's.
func (s *state) registered(b CollectorPut) (Collector, bool, error) {
	id := b.ID
	if id == "" {
		if id, known := s.index.registered(b.Cluster, b.Node, plainHost(b.Address), b.Port); known {
			c, _ := s.collector(b.Cluster, id)
			return c, true, nil
		}
		id = b.NewID
	}
	c, known := s.collector("", id)
	if known && (b.ID == "" || c.Node != b.Node) {
		return Collector{}, false, fail(ErrTaken, "collector id %s belongs to %s", id, ownerOf(c))
	}
	return c, known, nil
}

func ownerOf(c Collector) string {
	if c.Node == "" {
		return "an external service at " + c.HostPort()
	}
	return "node " + c.Node
}

// givePort checks the port that is asked for, or chooses one, from the table alone.
func (s *state) givePort(next *Collector, old Collector, known bool, b CollectorPut) error {
	host := plainHost(next.Address)
	if b.Port != 0 {
		if id, taken := s.index.at(host, b.Port); taken && id != next.ID {
			return fail(ErrTaken, "%s is the address of collector %s", next.HostPort(), id)
		}
		return nil
	}
	skip := make(map[int]bool, len(b.SkipPorts))
	for _, p := range b.SkipPorts {
		skip[p] = true
	}
	if known && !skip[old.Port] {
		if id, taken := s.index.at(host, old.Port); !taken || id == next.ID {
			next.Port = old.Port
			return nil
		}
	}
	start := b.PortStart
	if start == 0 {
		start = DefaultPortStart
	}
	if next.Port = s.index.freePort(host, next.Node, start, skip); next.Port == 0 {
		return fail(ErrNoPort, "none from %d on is free at %s", start, next.Address)
	}
	return nil
}
