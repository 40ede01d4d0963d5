package metadata

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/fault"
)

type guests map[string]string

func (g guests) GuestAt(_ context.Context, networkID string, a netip.Addr) (string, string, error) {
	switch s := g[networkID+"/"+a.String()]; s {
	case "":
		return "", "", fault.Missing("Port", a.String())
	case "broken":
		return "", "", errors.New("database is away")
	default:
		return s, "project-of-" + s, nil
	}
}

func newProxy(t *testing.T, backend http.HandlerFunc) *Proxy {
	t.Helper()
	srv := httptest.NewServer(backend)
	t.Cleanup(srv.Close)
	p, err := New(Options{
		Guests: guests{"net1/10.0.0.5": "server-a", "net2/10.0.0.5": "server-b", "net1/10.0.0.6": "broken"},
		URL:    srv.URL, Secret: func() string { return "s3cret" }, Node: "h1", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestGuestCannotPose covers threat 25: whatever headers a guest sends, it gets
// its own metadata.
func TestGuestCannotPose(t *testing.T) {
	var seen http.Header
	p := newProxy(t, func(w http.ResponseWriter, r *http.Request) { seen = r.Header; _, _ = w.Write([]byte(r.URL.Path)) })
	for net, server := range map[string]string{"net1": "server-a", "net2": "server-b"} {
		r := httptest.NewRequest("GET", "/openstack/latest/meta_data.json", nil)
		r.RemoteAddr = "10.0.0.5:1234"
		for _, h := range []string{"X-Forwarded-For", "x-forwarded-for", "X-Instance-ID", "X-Tenant-ID", "X-Instance-ID-Signature", "X-Metadata-Provider", "X-Metadata-Provider-Signature", "Forwarded", "X_Instance_ID", "X-Real-IP", "X-Auth-Token", "X-Tropo-Node"} {
			r.Header[h] = []string{"victim"}
		}
		r.Header.Set("Connection", "X-Instance-ID, X-Forwarded-For")
		w := httptest.NewRecorder()
		p.Serve(w, r, net)
		if w.Code != 200 || w.Body.String() != "/openstack/latest/meta_data.json" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write([]byte(server))
		for name, want := range map[string]string{
			"X-Instance-ID": server, "X-Tenant-ID": "project-of-" + server, "X-Instance-ID-Signature": hex.EncodeToString(mac.Sum(nil)), "X-Forwarded-For": "10.0.0.5",
			"X-Tropo-Node": "h1",
		} {
			if v := seen.Values(name); len(v) != 1 || v[0] != want {
				t.Errorf("%s: %v, want %q", name, v, want)
			}
		}
		for name, v := range seen {
			if strings.Contains(strings.Join(v, " "), "victim") {
				t.Errorf("header %s: %v came through", name, v)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	p := newProxy(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Body.Read(make([]byte, 1)); err == nil {
			for err == nil {
				_, err = r.Body.Read(make([]byte, 4096))
			}
		}
		w.WriteHeader(http.StatusOK)
	})
	for _, c := range []struct {
		remote, body string
		want         int
	}{
		{"10.0.0.9:1", "", 404},
		{"10.0.0.6:1", "", 503},
		{"nonsense", "", 404},
		{"10.0.0.5:1", "small", 200},
		{"10.0.0.5:1", strings.Repeat("x", maxBody+1), 413},
	} {
		r := httptest.NewRequest("POST", "/openstack/latest/password", strings.NewReader(c.body))
		r.RemoteAddr = c.remote
		w := httptest.NewRecorder()
		p.Serve(w, r, "net1")
		if w.Code != c.want {
			t.Errorf("%s %d bytes: %d, want %d", c.remote, len(c.body), w.Code, c.want)
		}
	}
}

func TestComputeAway(t *testing.T) {
	p, err := New(Options{Guests: guests{"n/10.0.0.5": "s"}, URL: "http://127.0.0.1:1", Secret: func() string { return "x" }, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.5:1"
	w := httptest.NewRecorder()
	p.Serve(w, r, "n")
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", w.Code)
	}
}
