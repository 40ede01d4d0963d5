// Package fault is the one error type of tropo.
//
// A fault has a Kind from a closed list, a Message for the user, and an
// optional cause for the operator. Every API renders the kind in its own
// service's error document; any error that is not a fault is Internal: the
// user sees a request id, the log sees the cause. Kinds survive the bus.
package fault

import (
	"errors"
	"fmt"
)

// Kind classifies a fault. The list is closed: APIs map each kind to a status.
type Kind string

// The kinds, with the HTTP status that an API answers by default.
const (
	Invalid         Kind = "invalid"          // 400: the request is wrong; the message says how to mend it
	Unauthenticated Kind = "unauthenticated"  // 401: no or no valid token
	Forbidden       Kind = "forbidden"        // 403: known caller, not allowed
	NotFound        Kind = "not-found"        // 404: no such resource, or not visible to the caller
	NotAllowed      Kind = "not-allowed"      // 405: the resource has no such method
	NotAcceptable   Kind = "not-acceptable"   // 406: microversion or media type out of range
	Conflict        Kind = "conflict"         // 409: the resource is in a state that forbids this
	Gone            Kind = "gone"             // 410: existed in an older API, removed
	Precondition    Kind = "precondition"     // 412: If-Match or revision does not hold
	TooLarge        Kind = "too-large"        // 413: body or resource over its limit
	UnsupportedType Kind = "unsupported-type" // 415: media type of the body
	Unprocessable   Kind = "unprocessable"    // 422: understood and refused
	OverQuota       Kind = "over-quota"       // 403, 409 or 413, by service
	Internal        Kind = "internal"         // 500: ours
	NotImplemented  Kind = "not-implemented"  // 501: the back end cannot do this
	Unavailable     Kind = "unavailable"      // 503: try again later
)

// Error is a fault. The zero Kind counts as Internal.
type Error struct {
	Kind Kind
	// Type names the fault within its service where the service's error
	// document has a type field (NeutronError "NetworkNotFound", placement
	// code "placement.concurrent_update"). Empty: derived from the kind.
	Type string
	// Message is for the user: one sentence, no internals, no secrets.
	Message string
	// Err is the cause, for the log alone.
	Err error
}

// Error returns the message and, for the operator, the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes a fault of kind k with a formatted message and no cause.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault of kind k around cause err.
func Wrap(k Kind, err error, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...), Err: err}
}

// WithType returns a copy of e that carries the service's own type name.
func (e *Error) WithType(t string) *Error {
	c := *e
	c.Type = t
	return &c
}

// Invalidf is New(Invalid, …).
func Invalidf(format string, args ...any) *Error { return New(Invalid, format, args...) }

// Forbiddenf is New(Forbidden, …).
func Forbiddenf(format string, args ...any) *Error { return New(Forbidden, format, args...) }

// Conflictf is New(Conflict, …).
func Conflictf(format string, args ...any) *Error { return New(Conflict, format, args...) }

// Unavailablef is New(Unavailable, …).
func Unavailablef(format string, args ...any) *Error { return New(Unavailable, format, args...) }

// Unauthenticatedf is New(Unauthenticated, …).
func Unauthenticatedf(format string, args ...any) *Error {
	return New(Unauthenticated, format, args...)
}

// OverQuotaf is New(OverQuota, …).
func OverQuotaf(format string, args ...any) *Error { return New(OverQuota, format, args...) }

// Missing says that no resource of this kind has this id (or that the caller
// may not know it): a NotFound "Server 42 could not be found."
func Missing(resource, id string) *Error {
	return New(NotFound, "%s %s could not be found.", resource, id)
}

// KindOf returns the kind of the first fault in err's chain, Internal if there
// is none, and "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if e, ok := As(err); ok && e.Kind != "" {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is a fault of kind k.
func Is(err error, k Kind) bool { return err != nil && KindOf(err) == k }

// As returns the first fault in err's chain.
func As(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}
