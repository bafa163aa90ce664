package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthz says that the process serves requests, and nothing more.
func healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, http.StatusOK, "ok")
}

// readyz is 200 when the node does its work, else 503 with the reason in words.
func (a *admin) readyz(w http.ResponseWriter, _ *http.Request) error {
	st := a.cfg.Reporter.Status()
	if !st.Ready {
		return writeText(w, http.StatusServiceUnavailable, st.Reason)
	}
	return writeText(w, http.StatusOK, "ready")
}

func (a *admin) metrics() apiFunc {
	h := promhttp.HandlerFor(a.cfg.Registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, // a scrape walks every queue
	})
	return func(w http.ResponseWriter, r *http.Request) error {
		h.ServeHTTP(w, r)
		return nil
	}
}

func (a *admin) status(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, a.cfg.Reporter.Status())
}

func (a *admin) spools(w http.ResponseWriter, _ *http.Request) error {
	all := a.cfg.Reporter.Spools()
	if all.Spools == nil {
		all.Spools = []Spool{}
	}
	return writeJSON(w, all)
}

func (a *admin) cluster(w http.ResponseWriter, r *http.Request) error {
	table, err := a.cfg.Reporter.Clusters(r.Context(), 0, 0)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	c, ok := table.Clusters[name]
	if !ok {
		return refusal(ErrNotFound, "there is no cluster %q", name)
	}
	setIndex(w, table.Index)
	return writeTable(w, r, c)
}

func (a *admin) dead(w http.ResponseWriter, r *http.Request) error {
	list, err := a.cfg.DeadLetters.Dead(r.Context())
	if err != nil {
		return err
	}
	if list.Dead == nil {
		list.Dead = []DeadFile{}
	}
	return writeJSON(w, list)
}

func (a *admin) retryDead(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := a.cfg.DeadLetters.RetryDead(r.Context(), id); err != nil {
		return fmt.Errorf("retry dead file %q: %w", id, err)
	}
	a.cfg.Logger.Info("dead file will be tried again", "item", id, "peer", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) removeDead(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if err := a.cfg.DeadLetters.RemoveDead(r.Context(), id); err != nil {
		return fmt.Errorf("remove dead file %q: %w", id, err)
	}
	a.cfg.Logger.Info("dead file removed", "item", id, "peer", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// staticNetwork answers what only a network that agrees can do.
func staticNetwork(http.ResponseWriter, *http.Request) error {
	return refusal(ErrStaticNetwork,
		"this node is in a static network: its clusters are read from a file, there are no members to ask and "+
			"nothing to change from here; edit the file that network.static names and send the node a SIGHUP")
}

func nothingHere(_ http.ResponseWriter, r *http.Request) error {
	return refusal(ErrNotFound, "there is nothing at %q", r.URL.Path)
}

func writeText(w http.ResponseWriter, status int, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	// A client that has gone is no error of ours.
	_, _ = io.WriteString(w, text+"\n")
	return nil
}

// writeJSON answers 200 with v, which it encodes in full before the first byte
// is sent, so that an answer is never half one thing and half another.
func writeJSON(w http.ResponseWriter, v any) error {
	body, err := encodeJSON(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
	return nil
}

func encodeJSON(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return append(body, '\n'), nil
}
