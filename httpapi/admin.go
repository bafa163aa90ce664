package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// MaxWait bounds how long GET /v1/clusters waits for a change.
const MaxWait = 5 * time.Minute

// Reporter tells what is true about a node now. All methods may be called at
// the same time and must not wait for a disk or a peer, save Clusters.
type Reporter interface {
	Status() Status
	Spools() Spools
	// Clusters returns the table. While its index is not above index it waits
	// for a change, for at most wait and until ctx ends, and then returns the
	// table as it is. An error becomes a problem document.
	Clusters(ctx context.Context, index uint64, wait time.Duration) (Clusters, error)
}

// DeadLetters are the files that were set aside. RetryDead and RemoveDead
// return ErrNotFound for an id that is not (or no longer) among them, and are
// durable when they return nil.
type DeadLetters interface {
	Dead(ctx context.Context) (DeadList, error)
	RetryDead(ctx context.Context, id string) error
	RemoveDead(ctx context.Context, id string) error
}

// AdminConfig is what the admin API serves. Reporter and DeadLetters are needed.
type AdminConfig struct {
	Reporter    Reporter
	DeadLetters DeadLetters
	// Network is the node's part in a network that agrees; nil in a static one.
	Network Network
	// Registry is what /metrics shows; nil shows nothing. With a Network the API
	// adds relay_network_blocked_polls to it.
	Registry *prometheus.Registry
	// Hosts are the names, without port, by which clients may call this node
	// beside IP addresses and localhost. See [NewAdmin].
	Hosts []string
	// Logger gets a line for every request that changes something; nil discards.
	Logger *slog.Logger
}

// NewAdmin returns the handler of the admin API (design 6.3) and of the
// original's endpoints (5.6). Without a cfg.Network, what only a network that
// agrees can do is answered 501 with the code static-network.
//
// A request is refused with 403 when its Host is neither an IP address, nor
// localhost, nor one of cfg.Hosts: else a web page could reach a node on
// loopback by a name that it makes resolve to 127.0.0.1 (etcd CVE-2018-1099).
// Requests of browsers from other sites that would change something are
// refused too. GET changes nothing, save /register and /remove, which are
// refused to every page. Answers are never cached.
//
// The handler is safe for concurrent use. A waiting GET /v1/clusters ends with
// its request's context, so a server that shuts down should cancel its base
// context first.
func NewAdmin(cfg AdminConfig) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registry == nil {
		cfg.Registry = prometheus.NewRegistry()
	}
	a := &admin{cfg: cfg}
	if cfg.Network != nil {
		registerPolls(cfg.Registry, &a.polls)
	}
	mux := http.NewServeMux()
	a.routes(mux)
	return guard(mux, cfg.Hosts)
}

type admin struct {
	cfg    AdminConfig
	polls  atomic.Int64 // requests that wait for a change of the table
	shared sharedTable  // what they are answered
}

// routes lists every path of the API. A path that exists answers 405 to a
// method that it does not have; any other path answers 404.
func (a *admin) routes(mux *http.ServeMux) {
	a.handle(mux, "/healthz", methods{"GET": healthz})
	a.handle(mux, "/readyz", methods{"GET": a.readyz})
	a.handle(mux, "/metrics", methods{"GET": a.metrics()})
	a.handle(mux, "/v1/status", methods{"GET": a.status})
	a.handle(mux, "/v1/spools", methods{"GET": a.spools})
	a.handle(mux, "/v1/clusters", methods{"GET": a.clusters})
	a.handle(mux, "/v1/dead", methods{"GET": a.dead})
	a.handle(mux, "/v1/dead/{id}", methods{"DELETE": a.removeDead})
	a.handle(mux, "/v1/dead/{id}/retry", methods{"POST": a.retryDead})
	a.networkRoutes(mux)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, nothingHere) })
}
