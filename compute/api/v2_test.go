package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestV2IsV21WithoutMicroversions: /v2 reaches the handlers of /v2.1, and what
// a client says of microversions is not heard.
func TestV2IsV21WithoutMicroversions(t *testing.T) {
	for path, want := range map[string]string{
		"/v2/servers/a%2Fb": "/v2.1/servers/a%2Fb ", "/v2/": "/v2/ 2.90", "/v2.1/servers": "/v2.1/servers 2.90", "/": "/ 2.90",
	} {
		got := ""
		h := V2(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = r.URL.EscapedPath() + " " + r.Header.Get("X-OpenStack-Nova-API-Version")
		}))
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("X-OpenStack-Nova-API-Version", "2.90")
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != want {
			t.Errorf("%s reached %q, want %q", path, got, want)
		}
	}
}
