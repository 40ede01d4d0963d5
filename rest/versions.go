package rest

import "net/http"

// Choices answers a version list at a service's root with 300 Multiple
// Choices (or the status given), as the services do.
func Choices(status int, document func(r *Request) any) Handler {
	return func(r *Request) (any, error) {
		return &Response{Status: status, Body: document(r)}, nil
	}
}

// SelfLink is the usual links list with one self link.
func SelfLink(href string) []map[string]string {
	return []map[string]string{{"rel": "self", "href": href}}
}

var _ http.Handler = (*API)(nil)
