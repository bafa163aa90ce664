package httpapi

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// apiFunc answers a request. It returns an error only when it has written
// nothing; the error then becomes a problem document.
type apiFunc func(w http.ResponseWriter, r *http.Request) error

// methods are the functions of one path by method. GET serves HEAD too.
type methods map[string]apiFunc

// handle serves path with ms. A method that is not there is answered 405, with
// those that are.
func (a *admin) handle(mux *http.ServeMux, path string, ms methods) {
	allowed := strings.Join(slices.Sorted(maps.Keys(ms)), ", ")
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		name := r.Method
		if name == http.MethodHead {
			name = http.MethodGet
		}
		f, ok := ms[name]
		if !ok {
			w.Header().Set("Allow", allowed)
			_ = WriteProblem(w, r, refusal(ErrMethod, "only %s is possible here", allowed))
			return
		}
		a.serve(w, r, f)
	})
}

// serve calls f and answers its error. What went wrong on our side goes to the
// log with the request id that the client is told.
func (a *admin) serve(w http.ResponseWriter, r *http.Request, f apiFunc) {
	err := f(w, r)
	if err == nil {
		return
	}
	p := WriteProblem(w, r, err)
	if p.Status >= http.StatusInternalServerError && p.Status != http.StatusNotImplemented {
		a.cfg.Logger.Warn("admin request failed", "request_id", p.RequestID, "path", r.URL.Path, "err", err)
	}
}

// refusal is the problem of a sentinel with words for this case.
func refusal(sentinel error, format string, args ...any) *Problem {
	p := problemOf(sentinel)
	p.Detail = clip(fmt.Sprintf(format, args...))
	return p
}

// guard wraps the whole admin API: safe headers on every answer, then who may
// ask, then a bound on what may be sent.
func guard(next http.Handler, hosts []string) http.Handler {
	origin := http.NewCrossOriginProtection()
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = WriteProblem(w, r, refusal(ErrCrossOrigin,
			"a page of another site (%q) may not change anything here", r.Header.Get("Origin")))
	}))
	read := origin.Handler(authorize(allowAll, RightRead, next))
	operate := origin.Handler(authorize(allowAll, RightOperate, next))
	allowed := allowHosts(hosts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if !allowed(r.Host) {
			_ = WriteProblem(w, r, refusal(ErrForbiddenHost,
				"this node does not answer to the name %q; use its address, or the name it is configured with", r.Host))
			return
		}
		r, err := forwarded(boundBody(w, r))
		if err != nil {
			_ = WriteProblem(w, r, err)
			return
		}
		if changes(r) {
			operate.ServeHTTP(w, r)
			return
		}
		read.ServeHTTP(w, r)
	})
}

// changes reports whether a request may change something: every one but a GET,
// and two GETs that the original made so.
func changes(r *http.Request) bool {
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead
	return !safe || r.URL.Path == pathRegister || r.URL.Path == pathRemove
}

// allowHosts returns whether a Host header names this node: an IP address,
// localhost or one of names, with or without a port, in any case of letters.
func allowHosts(names []string) func(host string) bool {
	known := map[string]bool{"localhost": true}
	for _, name := range names {
		known[bareHost(name)] = true
	}
	return func(host string) bool {
		bare := bareHost(host)
		if _, err := netip.ParseAddr(bare); err == nil {
			return true
		}
		return known[bare]
	}
}

// bareHost strips port, brackets and a trailing dot, and lowers the letters.
func bareHost(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil && strings.Trim(port, "0123456789") == "" {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
