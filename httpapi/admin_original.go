package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// The endpoints of the original's network server. Its collector calls /register
// when it starts and again as its heartbeat, and /remove when it ends; its
// uploader polls /clusters. It reads JSON and looks at no header.
const (
	pathRegister = "/register"
	pathRemove   = "/remove"
	pathClusters = "/clusters"
)

// register answers GET /register?cluster=C&address=A[&id=I][&port=P].
func (a *admin) register(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := notFromPage(r); err != nil {
		return err
	}
	q, err := query(r)
	if err != nil {
		return err
	}
	reg, err := originalRegistration(q, r.RemoteAddr)
	if err != nil {
		return err
	}
	got, err := n.Register(r.Context(), reg)
	if err != nil {
		return err
	}
	return writeJSON(w, originalRegistered{got.ID, originalPort(got.Port)})
}

// unregister answers GET /remove?id=I. Whatever is in the way, the status is 500,
// as with the original; the code in the document tells ours what it was.
func (a *admin) unregister(n Network, w http.ResponseWriter, r *http.Request) error {
	if err := notFromPage(r); err != nil {
		return err
	}
	q, err := query(r)
	id := given(q, "id")
	if err == nil && fsm.CheckIdent(id) != nil {
		err = refusal(ErrNotFound, "there is no collector %.100q", id)
	}
	if err == nil {
		err = n.Unregister(r.Context(), id)
	}
	if err != nil {
		p := problemOf(err)
		p.Status = http.StatusInternalServerError
		return fmt.Errorf("%w: %w", p, err)
	}
	a.cfg.Logger.Info("collector removed by itself", "collector", id, "peer", r.RemoteAddr)
	return writeJSON(w, map[string]int{"success": 1})
}

// originalClusters answers GET /clusters.
func (a *admin) originalClusters(w http.ResponseWriter, r *http.Request) error {
	table, err := a.cfg.Reporter.Clusters(r.Context(), 0, 0)
	if err != nil {
		return err
	}
	setIndex(w, table.Index)
	return writeTable(w, r, table.original())
}

// originalRegistration reads the query. What is absent, empty, or the text
// undefined is not given. Without an address, or with one that stands for all of
// a host, it is the caller's.
func originalRegistration(q url.Values, remote string) (OriginalRegistration, error) {
	reg := OriginalRegistration{Cluster: given(q, "cluster"), ID: given(q, "id"), Address: given(q, "address")}
	if err := fsm.CheckIdent(reg.Cluster); err != nil {
		return reg, badQuery("cluster=%v", err)
	}
	if reg.ID != "" {
		if err := fsm.CheckIdent(reg.ID); err != nil {
			return reg, badQuery("id=%v", err)
		}
	}
	if ip, err := netip.ParseAddr(reg.Address); reg.Address == "" || err == nil && ip.IsUnspecified() {
		reg.Address = callerIP(remote)
	}
	if err := checkHost(reg.Address); err != nil {
		return reg, err
	}
	if text := given(q, "port"); text != "" {
		port, err := strconv.Atoi(text)
		if err != nil || port < 1 || port > 65535 {
			return reg, badQuery("port=%.40q: want a number from 1 to 65535", text)
		}
		reg.Port = port
	}
	return reg, nil
}

// callerIP is the address that a request came from, without port.
func callerIP(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().String()
	}
	return host
}

// given is a parameter of the original, whose collector writes undefined for
// what it does not have.
func given(q url.Values, key string) string {
	if v := q.Get(key); v != "undefined" {
		return v
	}
	return ""
}

// notFromPage refuses what a browser sends for a page: these requests change
// something although they are GETs, and any page could make a browser send them.
func notFromPage(r *http.Request) error {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Header.Get("Origin") != "" || site != "" && site != "none" {
		return refusal(ErrCrossOrigin, "a web page may not register or remove collectors")
	}
	return nil
}
