package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// OriginalRegistration is the query of the original's GET /register. An empty ID
// and a Port of 0 are not given.
type OriginalRegistration struct {
	Cluster string
	ID      string
	Address string
	Port    int
}

// originalRegistered is the whole answer of GET /register.
type originalRegistered struct {
	ID   string       `json:"id"`
	Port originalPort `json:"port"`
}

// OriginalClusters is the answer of the original's GET /clusters.
type OriginalClusters map[string]map[string]OriginalAddress

// OriginalAddress is where a collector listens, as the original says it.
type OriginalAddress struct {
	Address string
	Port    int
}

type originalAddressJSON struct {
	Address string       `json:"address"`
	Port    originalPort `json:"port"`
}

// MarshalJSON writes the port as a number.
func (o OriginalAddress) MarshalJSON() ([]byte, error) {
	return json.Marshal(originalAddressJSON{o.Address, originalPort(o.Port)})
}

// UnmarshalJSON reads the port as a number or a text.
func (o *OriginalAddress) UnmarshalJSON(b []byte) error {
	var j originalAddressJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*o = OriginalAddress{j.Address, int(j.Port)}
	return nil
}

// originalPort is a port, which the original repeats as it got it: a number, or
// the text that stood in a query.
type originalPort int

// UnmarshalJSON reads either form; null is 0.
func (p *originalPort) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(bytes.TrimSpace(b)), `"`)
	if text == "null" {
		*p = 0
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("port %.40q", b)
	}
	*p = originalPort(n)
	return nil
}

// original renders a table in the original's form. Draining collectors are left
// out: it knows no such state, and would give them files.
func (c Clusters) original() OriginalClusters {
	out := make(OriginalClusters, len(c.Clusters))
	for name, cluster := range c.Clusters {
		members := map[string]OriginalAddress{}
		for _, m := range cluster.Collectors {
			if m.State != fsm.StateDraining {
				members[m.ID] = OriginalAddress{m.Address, m.Port}
			}
		}
		out[name] = members
	}
	return out
}

// Table turns the original's clusters into a table of index 0. All are of mode
// all, as the original has no other. Names that could not stand in a table of
// ours, and collectors without a port, are ErrBadTable.
func (c OriginalClusters) Table() (fsm.Table, error) {
	in := Clusters{Clusters: make(map[string]Cluster, len(c))}
	for name, members := range c {
		var out Cluster
		for id, m := range members {
			out.Collectors = append(out.Collectors, ClusterCollector{ID: id, Address: m.Address, Port: m.Port, External: true})
		}
		in.Clusters[name] = out
	}
	return in.Table()
}
