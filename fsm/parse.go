package fsm

import "fmt"

// parser builds a state from the records of a snapshot.
type parser struct {
	s       *state
	last    byte   // type of the record before
	key     string // its key
	records int
	// external counts the collectors that owe heartbeats.
	external int
	ended    bool
}

// record takes one record. Records are sorted, so that one state has one snapshot.
func (p *parser) record(kind byte, raw []byte) error {
	if p.records == 0 && kind != recordHeader || kind < p.last || kind == p.last && kind == recordHeader {
		return fmt.Errorf("type %d after type %d", kind, p.last)
	}
	if kind != p.last {
		p.key = ""
	}
	p.last = kind
	if kind == recordEnd {
		return p.end(raw)
	}
	p.records++
	switch kind {
	case recordHeader:
		return p.header(raw)
	case recordCluster:
		return p.cluster(raw)
	case recordCollector:
		return p.collector(raw)
	case recordNode:
		return p.node(raw)
	case recordBeat:
		return p.beat(raw)
	case recordRequest:
		return p.request(raw)
	}
	return fmt.Errorf("type %d is unknown", kind)
}

// sorted checks that a key comes after the one before it.
func (p *parser) sorted(key string) error {
	if key <= p.key {
		return fmt.Errorf("%.100q stands behind %.100q", key, p.key)
	}
	p.key = key
	return nil
}

func (p *parser) header(raw []byte) error {
	var h headerRecord
	if err := strictJSON(raw, &h); err != nil {
		return err
	}
	if h.NetworkID != "" {
		if err := CheckIdent(h.NetworkID); err != nil {
			return err
		}
	}
	if h.TableIndex > h.Applied {
		return fmt.Errorf("table of index %d in a state of index %d", h.TableIndex, h.Applied)
	}
	p.s.applied, p.s.networkID, p.s.tableIndex = h.Applied, h.NetworkID, h.TableIndex
	return nil
}

func (p *parser) cluster(raw []byte) error {
	var r clusterRecord
	if err := strictJSON(raw, &r); err != nil {
		return err
	}
	if err := p.sorted(string(r.Name)); err != nil {
		return err
	}
	if err := CheckIdent(string(r.Name)); err != nil {
		return err
	}
	c := Cluster{Name: r.Name}
	if r.Mode == "" || r.FailoverMS <= 0 {
		return fmt.Errorf("cluster %s lacks mode or failover_after", r.Name)
	}
	if err := c.change(ClusterPut{Name: r.Name, Mode: r.Mode, Key: r.Key, FailoverAfterMS: r.FailoverMS}); err != nil {
		return err
	}
	p.s.clusters[r.Name], p.s.dirty[r.Name] = &c, struct{}{}
	return nil
}

func (p *parser) collector(raw []byte) error {
	var r collectorRecord
	if err := strictJSON(raw, &r); err != nil {
		return err
	}
	// By cluster, then by id. No name holds the byte between.
	if err := p.sorted(string(r.Cluster) + "\x00" + string(r.ID)); err != nil {
		return err
	}
	c := r.collector()
	if err := c.check(); err != nil {
		return err
	}
	if c.Node == "" && !c.External {
		return fmt.Errorf("collector %s has no node and is not external", c.ID)
	}
	cl, ok := p.s.clusters[c.Cluster]
	if !ok {
		return fmt.Errorf("collector %s of cluster %s, which is not there", c.ID, c.Cluster)
	}
	if _, twice := p.s.index.home[c.ID]; twice {
		return fmt.Errorf("collector %s stands twice", c.ID)
	}
	if other, taken := p.s.index.at(plainHost(c.Address), c.Port); taken {
		return fmt.Errorf("collectors %s and %s are both at %s", other, c.ID, c.HostPort())
	}
	if c.External {
		p.external++
	}
	cl.Collectors = append(cl.Collectors, c) // records are sorted
	p.s.index.add(c)
	return nil
}

func (p *parser) node(raw []byte) error {
	var n Node
	if err := strictJSON(raw, &n); err != nil {
		return err
	}
	if err := p.sorted(n.ID); err != nil {
		return err
	}
	p.s.nodes = append(p.s.nodes, n)
	return n.check()
}

func (p *parser) beat(raw []byte) error {
	var r beatRecord
	if err := strictJSON(raw, &r); err != nil {
		return err
	}
	if err := p.sorted(string(r.ID)); err != nil {
		return err
	}
	c, ok := p.s.collector("", r.ID)
	if !ok || !c.External || r.EveryMS < minHeartbeat.Milliseconds() || r.EveryMS > maxHeartbeat.Milliseconds() {
		return fmt.Errorf("heartbeat of %.100q every %d ms", r.ID, r.EveryMS)
	}
	p.s.beats[r.ID] = r.beat()
	return nil
}

func (p *parser) request(raw []byte) error {
	var r requestRecord
	if err := strictJSON(raw, &r); err != nil {
		return err
	}
	if r.ReqID == "" || len(r.ReqID) > maxReqID || len(p.s.requests.ring) == maxRequests {
		return fmt.Errorf("request %.100q", r.ReqID)
	}
	if f := r.Failure; f != nil && (failureCodes[f.Code] == nil || len(f.Text) > maxFailure) {
		return fmt.Errorf("failure %.100q of %d bytes", f.Code, len(f.Text))
	}
	if _, twice := p.s.requests.get(r.ReqID); twice {
		return fmt.Errorf("request %.100q stands twice", r.ReqID)
	}
	p.s.requests.put(r.ReqID, r.outcome())
	return nil
}

func (p *parser) end(raw []byte) error {
	var e endRecord
	if err := strictJSON(raw, &e); err != nil {
		return err
	}
	if e.Records != p.records {
		return fmt.Errorf("%d records, want %d", p.records, e.Records)
	}
	if len(p.s.beats) != p.external {
		return fmt.Errorf("heartbeats of %d external collectors, want %d", len(p.s.beats), p.external)
	}
	p.ended = true
	return nil
}
