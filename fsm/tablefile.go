package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// tableVersion is the version of the table's form on disk.
const tableVersion = 1

// ErrBadTable is returned for a table that is damaged or of a newer version.
var ErrBadTable = errors.New("bad table")

// tableDocument is a table on disk. The digest is over the content as it
// stands there.
type tableDocument struct {
	Version int             `json:"version"`
	SHA256  string          `json:"sha256"` // hex
	Table   json.RawMessage `json:"table"`
}

type tableContent struct {
	Index    uint64                        `json:"index"`
	Clusters map[ClusterName]clusterOnDisk `json:"clusters"`
}

type clusterOnDisk struct {
	clusterRecord
	Collectors []collectorRecord `json:"collectors"`
}

// EncodeTable renders a table so that a node can keep it: JSON with a version
// and a digest, ending with a line feed. The same table gives the same bytes.
// ErrBadTable for one that DecodeTable would refuse: a cluster or collector
// that breaks the rules of this package, or stands where it does not belong.
func EncodeTable(t Table) ([]byte, error) {
	content := tableContent{Index: t.Index, Clusters: make(map[ClusterName]clusterOnDisk, len(t.Clusters))}
	for name, c := range t.Clusters {
		on := clusterOnDisk{clusterRecordOf(c), make([]collectorRecord, 0, len(c.Collectors))}
		for _, m := range c.Collectors {
			on.Collectors = append(on.Collectors, recordOf(m))
		}
		content.Clusters[name] = on
	}
	if _, err := content.table(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadTable, err)
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encode table: %w", err)
	}
	sum := sha256.Sum256(raw)
	doc, err := json.Marshal(tableDocument{Version: tableVersion, SHA256: hex.EncodeToString(sum[:]), Table: raw})
	if err != nil {
		return nil, fmt.Errorf("encode table: %w", err)
	}
	return append(doc, '\n'), nil
}

// DecodeTable reads what EncodeTable wrote. ErrBadTable for anything else.
func DecodeTable(b []byte) (Table, error) {
	t, err := decodeTable(b)
	if err != nil {
		return Table{}, fmt.Errorf("%w: %w", ErrBadTable, err)
	}
	return t, nil
}

func decodeTable(b []byte) (Table, error) {
	var doc tableDocument
	if err := strictJSON(b, &doc); err != nil {
		return Table{}, err
	}
	if doc.Version != tableVersion {
		return Table{}, fmt.Errorf("version %d, and this program reads version %d", doc.Version, tableVersion)
	}
	if sum := sha256.Sum256(doc.Table); hex.EncodeToString(sum[:]) != doc.SHA256 {
		return Table{}, errors.New("the digest is another")
	}
	var content tableContent
	if err := strictJSON(doc.Table, &content); err != nil {
		return Table{}, err
	}
	return content.table()
}

// table judges the content by the rules of this package. The outcome does not
// depend on the order in which the clusters are looked at.
func (content tableContent) table() (Table, error) {
	t := Table{Index: content.Index, Clusters: make(map[ClusterName]Cluster, len(content.Clusters))}
	seen := map[CollectorID]bool{}
	for _, name := range slices.Sorted(maps.Keys(content.Clusters)) {
		c, err := content.Clusters[name].cluster(name, seen)
		if err != nil {
			return Table{}, err
		}
		t.Clusters[name] = c
	}
	return t, nil
}

func (on clusterOnDisk) cluster(name ClusterName, seen map[CollectorID]bool) (Cluster, error) {
	if on.Name != name {
		return Cluster{}, fmt.Errorf("cluster %.100q is called %.100q", name, on.Name)
	}
	if err := CheckIdent(string(name)); err != nil {
		return Cluster{}, err
	}
	c := Cluster{Name: name}
	if on.Mode == "" {
		on.Mode = ModeAll
	}
	if err := c.change(ClusterPut{Name: name, Mode: on.Mode, Key: on.Key, FailoverAfterMS: on.FailoverMS}); err != nil {
		return Cluster{}, err
	}
	for _, r := range on.Collectors {
		m := r.collector()
		if m.Cluster != name || seen[m.ID] {
			return Cluster{}, fmt.Errorf("collector %.100q is out of place", m.ID)
		}
		if err := m.check(); err != nil {
			return Cluster{}, err
		}
		seen[m.ID] = true
		c.Collectors = append(c.Collectors, m)
	}
	SortCollectors(c.Collectors)
	return c, nil
}
