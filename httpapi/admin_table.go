package httpapi

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// headerIndex carries the index of the table in an answer.
	headerIndex = "Relay-Index"
	// maxPolls bounds the requests that wait for a change at the same time. It is
	// below the connections of a server (DefaultLimits), so that a node that is
	// waited at by everybody can still be administered.
	maxPolls = 3072
	// maxCatchUp bounds the wait of a caller whose table is newer than ours: as a
	// rule this node is behind for a moment. Else the table was set back, and the
	// caller has to know.
	maxCatchUp = 2 * time.Second
)

// clusters answers with the table; with ?index=N&wait=D it first waits for an
// index above N. ?consistent asks for the network's word rather than this
// node's: in a static network they are the same.
func (a *admin) clusters(w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	index, wait, err := waitQuery(q)
	if err != nil {
		return err
	}
	consistent, err := flagQuery(q, "consistent")
	if err != nil {
		return err
	}
	if consistent && a.cfg.Network != nil {
		if err := a.cfg.Network.Confirm(r.Context()); err != nil {
			return err
		}
	}
	table, err := a.await(r, index, wait)
	if err != nil {
		return err
	}
	if table.Clusters == nil {
		table.Clusters = map[string]Cluster{}
	}
	setIndex(w, table.Index)
	if wait == 0 {
		return writeTable(w, r, table)
	}
	answer, err := a.shared.of(table)
	if err == nil {
		answer.write(w, r)
	}
	return err
}

// await returns the table, after a wait while it has nothing above index. With
// too many that wait already it is ErrBusy, unless there is no need to wait.
func (a *admin) await(r *http.Request, index uint64, wait time.Duration) (Clusters, error) {
	if wait == 0 {
		return a.cfg.Reporter.Clusters(r.Context(), index, 0)
	}
	defer a.polls.Add(-1)
	if a.polls.Add(1) > maxPolls {
		table, err := a.cfg.Reporter.Clusters(r.Context(), index, 0)
		if err == nil && table.Index <= index {
			err = refusal(ErrBusy, "%d requests wait for a change of the table here already; ask another node", maxPolls)
		}
		return table, err
	}
	if a.cfg.Reporter.Status().Index < index {
		wait = min(wait, maxCatchUp)
	}
	return a.cfg.Reporter.Clusters(r.Context(), index, wait)
}

// waitQuery reads ?index and ?wait. A wait beyond MaxWait is cut to it.
func waitQuery(q url.Values) (uint64, time.Duration, error) {
	var index uint64
	var wait time.Duration
	var err error
	if v := q.Get("index"); v != "" {
		if index, err = strconv.ParseUint(v, 10, 64); err != nil {
			return 0, 0, badQuery("index=%.40q: want a whole number", v)
		}
	}
	if v := q.Get("wait"); v != "" {
		if wait, err = time.ParseDuration(v); err != nil || wait < 0 {
			return 0, 0, badQuery("wait=%.40q: want a duration such as 60s", v)
		}
	}
	// Those who began at the same time do not all come back at the same time.
	wait = min(wait, MaxWait)
	return index, wait + rand.N(wait/16+1), nil
}

// query reads the query of a request. What cannot be read, or is there twice, is
// a problem: passing over it would do something else than what was asked for.
func query(r *http.Request) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badQuery("the query cannot be read: %v", err)
	}
	for key, values := range q {
		if len(values) > 1 {
			return nil, badQuery("%.40q is given %d times", key, len(values))
		}
	}
	return q, nil
}

// flagQuery reads a parameter that is on when it is there, as ?force or
// ?force=true, and off with ?force=false.
func flagQuery(q url.Values, key string) (bool, error) {
	if !q.Has(key) {
		return false, nil
	}
	v := q.Get(key)
	if v == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, badQuery("%s=%.40q: want true or false", key, v)
	}
	return on, nil
}

// badQuery is the problem of a parameter that cannot be read.
func badQuery(format string, args ...any) *Problem {
	return &Problem{
		Type: problemURN + "bad-query", Title: "A parameter cannot be read",
		Status: http.StatusBadRequest, Code: "bad-query", Detail: clip(fmt.Sprintf(format, args...)),
	}
}

// setIndex tells the index of the table that an answer shows.
func setIndex(w http.ResponseWriter, index uint64) {
	w.Header().Set(headerIndex, strconv.FormatUint(index, 10))
}
