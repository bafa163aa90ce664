package httpapi

import (
	"net/http"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// inNetwork makes an endpoint that only a network that agrees has.
func (a *admin) inNetwork(f func(n Network, w http.ResponseWriter, r *http.Request) error) apiFunc {
	if a.cfg.Network == nil {
		return staticNetwork
	}
	return func(w http.ResponseWriter, r *http.Request) error { return f(a.cfg.Network, w, r) }
}

// networkRoutes are the paths of a network of several nodes. A static network
// has them too, and says that it can't.
func (a *admin) networkRoutes(mux *http.ServeMux) {
	a.handle(mux, "/v1/members", methods{"GET": a.inNetwork(members)})
	a.handle(mux, "/v1/members/{node}", methods{"DELETE": a.inNetwork(a.removeMember)})
	a.handle(mux, "/v1/health", methods{"GET": a.inNetwork(health)})
	a.handle(mux, "/v1/clusters/{name}", methods{
		"GET": a.cluster, "PUT": a.inNetwork(a.putCluster), "DELETE": a.inNetwork(a.deleteCluster),
	})
	a.handle(mux, "/v1/clusters/{name}/collectors/{id}", methods{
		"PUT": a.inNetwork(a.putCollector), "DELETE": a.inNetwork(a.deleteCollector),
	})
	a.handle(mux, "/v1/clusters/{name}/collectors/{id}/drain", methods{"POST": a.inNetwork(a.drain)})
	a.handle(mux, pathSnapshot, methods{"GET": a.inNetwork(saveSnapshot), "PUT": a.inNetwork(a.loadSnapshot)})
	a.handle(mux, "/v1/leader/transfer", methods{"POST": a.inNetwork(a.transfer)})
	a.handle(mux, "/v1/leave", methods{"POST": a.inNetwork(a.leave)})
	a.handle(mux, "/v1/internal/bootstrap-check", methods{"POST": a.inNetwork(probe)})
	a.handle(mux, pathRegister, methods{"GET": a.inNetwork(a.register)})
	a.handle(mux, pathRemove, methods{"GET": a.inNetwork(a.unregister)})
	a.handle(mux, pathClusters, methods{"GET": a.originalClusters})
}

func members(n Network, w http.ResponseWriter, _ *http.Request) error {
	all, err := n.Members()
	if err != nil {
		return err
	}
	if all.Members == nil {
		all.Members = []Member{}
	}
	return writeJSON(w, all)
}

func health(n Network, w http.ResponseWriter, r *http.Request) error {
	h, err := n.Health(r.Context())
	if err != nil {
		return err
	}
	if h.Nodes == nil {
		h.Nodes = []NodeHealth{}
	}
	return writeJSON(w, h)
}

// changed answers a change that was made, and notes it.
func (a *admin) changed(w http.ResponseWriter, r *http.Request, what, name string) error {
	a.cfg.Logger.Info("network changed by request", "change", what, "name", name, "peer", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) removeMember(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := n.RemoveMember(r.Context(), r.PathValue("node")); err != nil {
		return err
	}
	return a.changed(w, r, "node removed", r.PathValue("node"))
}

func (a *admin) putCluster(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := checkIdents(r, "name"); err != nil {
		return err
	}
	var spec ClusterSpec
	if err := readBody(r, &spec); err != nil {
		return err
	}
	if err := n.PutCluster(r.Context(), r.PathValue("name"), spec); err != nil {
		return err
	}
	return a.changed(w, r, "cluster set", r.PathValue("name"))
}

func (a *admin) deleteCluster(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := n.DeleteCluster(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	return a.changed(w, r, "cluster removed", r.PathValue("name"))
}

func (a *admin) putCollector(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := checkIdents(r, "name", "id"); err != nil {
		return err
	}
	var reg Registration
	if err := readBody(r, &reg); err != nil {
		return err
	}
	if err := reg.check(); err != nil {
		return err
	}
	got, err := n.PutCollector(r.Context(), r.PathValue("name"), r.PathValue("id"), reg)
	if err != nil {
		return err
	}
	return writeJSON(w, got)
}

func (a *admin) deleteCollector(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := n.DeleteCollector(r.Context(), r.PathValue("name"), r.PathValue("id")); err != nil {
		return err
	}
	return a.changed(w, r, "collector removed", r.PathValue("id"))
}

// checkIdents judges names that are to be made: one that is not there already
// has to be one that a person can write down and a URL can hold.
func checkIdents(r *http.Request, keys ...string) error {
	for _, key := range keys {
		if err := fsm.CheckIdent(r.PathValue(key)); err != nil {
			return refusal(ErrInvalid, "%s %v", key, err)
		}
	}
	return nil
}

// drain has a collector get nothing new; with ?undo it gets files again.
func (a *admin) drain(n Network, w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	undo, err := flagQuery(q, "undo")
	if err != nil {
		return err
	}
	if err := n.DrainCollector(r.Context(), r.PathValue("name"), r.PathValue("id"), !undo); err != nil {
		return err
	}
	what := "collector drains"
	if undo {
		what = "collector takes files again"
	}
	return a.changed(w, r, what, r.PathValue("id"))
}

func (a *admin) transfer(n Network, w http.ResponseWriter, r *http.Request) error {
	var t Transfer
	if r.ContentLength != 0 {
		if err := readBody(r, &t); err != nil {
			return err
		}
	}
	if err := n.TransferLeadership(r.Context(), t.To); err != nil {
		return err
	}
	return a.changed(w, r, "leadership transferred", t.To)
}

func (a *admin) leave(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := n.Leave(r.Context()); err != nil {
		return err
	}
	return a.changed(w, r, "node left", "")
}

func probe(n Network, w http.ResponseWriter, r *http.Request) error {
	var q Probe
	if err := readBody(r, &q); err != nil {
		return err
	}
	answer, err := n.Probe(r.Context(), q)
	if err != nil {
		return err
	}
	if answer.Members == nil {
		answer.Members = []string{}
	}
	return writeJSON(w, answer)
}
