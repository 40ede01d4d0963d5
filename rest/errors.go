package rest

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"

	"github.com/tropocloud/tropo/fault"
)

// ErrorStyle renders a fault as a service's error document.
type ErrorStyle interface {
	// Status maps a kind to the service's HTTP status.
	Status(k fault.Kind) int
	// Document returns the media type and body.
	Document(f *fault.Error, status int, requestID string) (contentType string, body []byte)
}

func status(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Forbidden, fault.OverQuota:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.NotAllowed:
		return http.StatusMethodNotAllowed
	case fault.NotAcceptable:
		return http.StatusNotAcceptable
	case fault.Conflict:
		return http.StatusConflict
	case fault.Gone:
		return http.StatusGone
	case fault.Precondition:
		return http.StatusPreconditionFailed
	case fault.TooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.UnsupportedType:
		return http.StatusUnsupportedMediaType
	case fault.Unprocessable:
		return http.StatusUnprocessableEntity
	case fault.NotImplemented:
		return http.StatusNotImplemented
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func document(v any) (string, []byte) {
	b, err := json.Marshal(v)
	if err != nil { // only strings and numbers come here
		b = []byte(`{}`)
	}
	return "application/json", b
}

type m = map[string]any

// KeystoneErrors is {"error": {"code", "message", "title"}}.
type KeystoneErrors struct{}

// Status implements ErrorStyle.
func (KeystoneErrors) Status(k fault.Kind) int { return status(k) }

// Document implements ErrorStyle.
func (KeystoneErrors) Document(f *fault.Error, code int, _ string) (string, []byte) {
	return document(m{"error": m{"code": code, "message": f.Message, "title": http.StatusText(code)}})
}

// NovaErrors is {"itemNotFound": {"code", "message"}}, of Nova and Cinder.
type NovaErrors struct {
	// Quota is the status of OverQuota: 403 in Nova, 413 in Cinder.
	Quota int
}

// Status implements ErrorStyle.
func (n NovaErrors) Status(k fault.Kind) int {
	if k == fault.OverQuota && n.Quota != 0 {
		return n.Quota
	}
	return status(k)
}

// Document implements ErrorStyle.
func (NovaErrors) Document(f *fault.Error, code int, _ string) (string, []byte) {
	name := map[int]string{
		400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
		409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 429: "overLimit", 501: "notImplemented", 503: "serviceUnavailable",
	}[code]
	if name == "" {
		name = "computeFault"
	}
	return document(m{name: m{"code": code, "message": f.Message}})
}

// NeutronErrors is {"NeutronError": {"type", "message", "detail"}}.
type NeutronErrors struct{}

// Status implements ErrorStyle.
func (NeutronErrors) Status(k fault.Kind) int {
	if k == fault.OverQuota {
		return http.StatusConflict
	}
	return status(k)
}

// Document implements ErrorStyle.
func (NeutronErrors) Document(f *fault.Error, code int, _ string) (string, []byte) {
	typ := f.Type
	if typ == "" {
		typ = map[int]string{
			400: "HTTPBadRequest", 401: "HTTPUnauthorized", 403: "HTTPForbidden", 404: "HTTPNotFound",
			405: "HTTPMethodNotAllowed", 406: "HTTPNotAcceptable", 409: "Conflict", 412: "HTTPPreconditionFailed", 413: "HTTPRequestEntityTooLarge",
			415: "HTTPUnsupportedMediaType", 422: "HTTPUnprocessableEntity", 501: "HTTPNotImplemented", 503: "ServiceUnavailable",
		}[code]
	}
	if typ == "" {
		typ = "HTTPInternalServerError"
	}
	return document(m{"NeutronError": m{"type": typ, "message": f.Message, "detail": ""}})
}

// PlacementErrors is {"errors": [{"status", "title", "detail", "code", "request_id"}]}.
type PlacementErrors struct{}

// Status implements ErrorStyle.
func (PlacementErrors) Status(k fault.Kind) int { return status(k) }

// Document implements ErrorStyle.
func (PlacementErrors) Document(f *fault.Error, code int, requestID string) (string, []byte) {
	typ := f.Type
	if typ == "" {
		typ = "placement.undefined_code"
	}
	return document(m{"errors": []any{m{"status": code, "title": http.StatusText(code), "detail": f.Message, "code": typ, "request_id": requestID}}})
}

// GlanceErrors is the small HTML page of Glance, whose clients take the
// message from its body.
type GlanceErrors struct{}

// Status implements ErrorStyle.
func (GlanceErrors) Status(k fault.Kind) int {
	if k == fault.OverQuota {
		return http.StatusRequestEntityTooLarge
	}
	return status(k)
}

// Document implements ErrorStyle.
func (GlanceErrors) Document(f *fault.Error, code int, _ string) (string, []byte) {
	title := fmt.Sprintf("%d %s", code, http.StatusText(code))
	return "text/html; charset=UTF-8", fmt.Appendf(nil, "<html>\n <head>\n  <title>%s</title>\n </head>\n <body>\n  <h1>%s</h1>\n  %s<br /><br />\n\n\n </body>\n</html>", title, title, html.EscapeString(f.Message))
}

var (
	_ ErrorStyle = KeystoneErrors{}
	_ ErrorStyle = NovaErrors{}
	_ ErrorStyle = NeutronErrors{}
	_ ErrorStyle = PlacementErrors{}
	_ ErrorStyle = GlanceErrors{}
)
