package httpapi

import "net/http"

// Right is what a request must be allowed to do.
type Right string

// The rights.
const (
	RightDeliver Right = "deliver" // put files into an inbox
	RightRead    Right = "read"    // see the state of a node
	RightOperate Right = "operate" // change it
)

// checkFunc decides whether a request has a right: nil, or the error to answer
// with. It is called before anything of the body is read, by many requests at
// the same time.
type checkFunc func(r *http.Request, right Right) error

// allowAll is the check of a network without keys: everyone may do everything.
// That is why listening off loopback needs "insecure: true". Certificates and
// tokens will be checked in its place.
func allowAll(*http.Request, Right) error { return nil }

// authorize is the one seam at which a request's right is checked. next sees
// only requests that have it.
func authorize(check checkFunc, right Right, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := check(r, right); err != nil {
			WriteProblem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
