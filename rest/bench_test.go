package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tropocloud/tropo/rest"
)

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

func BenchmarkGet(b *testing.B) {
	a := newAPI(b)
	req := httptest.NewRequest(http.MethodGet, "/v2.1/things/member?x=1", nil)
	req.Header.Set("X-Auth-Token", "member")
	b.ReportAllocs()
	for b.Loop() {
		a.ServeHTTP(discard{http.Header{}}, req)
	}
}

func BenchmarkInProcess(b *testing.B) {
	tr := &rest.InProcess{}
	tr.Add("cloud:1", newAPI(b))
	c := &http.Client{Transport: tr}
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, "http://cloud:1/v2.1/things/member?x=1", nil)
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("X-Auth-Token", "member")
		res, err := c.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}
