package fsm

import (
	"errors"
	"fmt"
	"time"
)

// The types of record, in the order in which they stand in a snapshot.
const (
	recordHeader    byte = 1
	recordCluster   byte = 2
	recordCollector byte = 3
	recordNode      byte = 4
	recordBeat      byte = 5
	recordRequest   byte = 6
	recordEnd       byte = 255
)

type headerRecord struct {
	Applied    uint64 `json:"applied"`
	NetworkID  string `json:"network_id"`
	TableIndex uint64 `json:"table_index"`
}

type clusterRecord struct {
	Name       ClusterName `json:"name"`
	Mode       Mode        `json:"mode"`
	Key        string      `json:"key,omitempty"`
	FailoverMS int64       `json:"failover_after_ms"`
}

type collectorRecord struct {
	ID       CollectorID `json:"id"`
	Cluster  ClusterName `json:"cluster"`
	Node     string      `json:"node,omitempty"`
	Address  string      `json:"address"`
	Port     int         `json:"port"`
	State    State       `json:"state"`
	External bool        `json:"external,omitempty"`
}

type beatRecord struct {
	ID      CollectorID `json:"id"`
	LastMS  int64       `json:"last_ms"`
	EveryMS int64       `json:"every_ms"`
}

type requestRecord struct {
	ReqID     string           `json:"req_id"`
	Changed   bool             `json:"changed,omitempty"`
	Index     uint64           `json:"index"`
	Collector *collectorRecord `json:"collector,omitempty"`
	Failure   *failure         `json:"failure,omitempty"`
}

type endRecord struct {
	Records int `json:"records"`
}

func clusterRecordOf(c Cluster) clusterRecord {
	return clusterRecord{c.Name, c.Mode, keyText(c), c.FailoverAfter.Milliseconds()}
}

func recordOf(c Collector) collectorRecord { return collectorRecord(c) }

func (r collectorRecord) collector() Collector { return Collector(r) }

func requestOf(id string, o Outcome) requestRecord {
	r := requestRecord{ReqID: id, Changed: o.Result.Changed, Index: o.Result.Index}
	if o.Result.Collector != (Collector{}) {
		c := recordOf(o.Result.Collector)
		r.Collector = &c
	}
	_ = errors.As(o.Err, &r.Failure) // all that a command ends with is one
	return r
}

func (r requestRecord) outcome() Outcome {
	o := Outcome{Result: Result{Changed: r.Changed, Index: r.Index}}
	if r.Collector != nil {
		o.Result.Collector = r.Collector.collector()
	}
	if r.Failure != nil {
		o.Err = r.Failure
	}
	return o
}

func beatRecordOf(id CollectorID, b Beat) beatRecord {
	return beatRecord{id, b.Last.UnixMilli(), b.Every.Milliseconds()}
}

func (r beatRecord) beat() Beat {
	return Beat{Last: time.UnixMilli(r.LastMS).UTC(), Every: time.Duration(r.EveryMS) * time.Millisecond}
}

// check judges a collector that comes from a file. It is less strict about the
// address than a registration is: rules may grow stricter, files must not become
// unreadable.
func (c Collector) check() error {
	if err := CheckIdent(string(c.ID)); err != nil {
		return fmt.Errorf("collector id %w", err)
	}
	if err := CheckIdent(string(c.Cluster)); err != nil {
		return fmt.Errorf("cluster %w", err)
	}
	if c.Node != "" {
		if err := CheckIdent(c.Node); err != nil {
			return fmt.Errorf("node %w", err)
		}
	}
	if !addressForm.MatchString(c.Address) {
		return fmt.Errorf("collector %s has address %.100q", c.ID, c.Address)
	}
	if c.Port < 1 || c.Port > maxPort || c.State != StateActive && c.State != StateDraining {
		return fmt.Errorf("collector %s has port %d and state %.40q", c.ID, c.Port, c.State)
	}
	return nil
}
