package httpapi

import (
	"context"
	"net/http"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// headerForwarded marks a request that one node passes on to another for a
// client, with the id under which the change is made once however often it is sent.
const headerForwarded = "Relay-Forwarded"

// maxRequestID bounds such an id in bytes, as a command of the log does.
const maxRequestID = 64

type (
	outgoingKey struct{}
	incomingKey struct{}
)

// Forward marks the requests that a [Client] sends with the context as passed
// on: who gets one does not pass it on again. requestID, 1–64 bytes that obey
// fsm.CheckIdent, names the change.
func Forward(ctx context.Context, requestID string) context.Context {
	return context.WithValue(ctx, outgoingKey{}, requestID)
}

// Forwarded reports whether a request that is being answered was passed on by
// another node.
func Forwarded(ctx context.Context) bool { return RequestID(ctx) != "" }

// RequestID is the id of the change that a passed-on request is to make; empty
// for any other request.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(incomingKey{}).(string)
	return id
}

// markForwarded sets the header of an outgoing request.
func markForwarded(req *http.Request) {
	if id, ok := req.Context().Value(outgoingKey{}).(string); ok {
		req.Header.Set(headerForwarded, id)
	}
}

// forwarded reads it from an incoming one. A malformed one is refused: taken for
// none, the request would be passed on again. The request is always returned.
func forwarded(r *http.Request) (*http.Request, error) {
	ids := r.Header.Values(headerForwarded)
	if len(ids) == 0 {
		return r, nil
	}
	if len(ids) > 1 || len(ids[0]) > maxRequestID || fsm.CheckIdent(ids[0]) != nil {
		return r, refusal(ErrBadHeader, "%s: want one id of at most %d bytes", headerForwarded, maxRequestID)
	}
	return r.WithContext(context.WithValue(r.Context(), incomingKey{}, ids[0])), nil
}
