package outbound

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"
)

func TestAddresses(t *testing.T) {
	p := Policy{Networks: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}
	for a, ok := range map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "2606:4700::1111": true, "10.9.1.1": true, "::ffff:10.9.1.1": true,
		"10.8.1.1": false, "127.0.0.1": false, "127.9.9.9": false, "169.254.169.254": false, "192.168.1.1": false, "172.16.0.1": false,
		"172.32.0.1": true, "0.0.0.0": false, "100.64.0.1": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false,
		"::ffff:127.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fec0::1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "ff02::1": false,
	} {
		if err := p.CheckAddress(netip.MustParseAddr(a)); (err == nil) != ok {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestURLs(t *testing.T) {
	p := Policy{Blocked: []string{"bad.example"}}
	for u, ok := range map[string]bool{
		"http://x.example/a": true, "https://x.example": true, "http://x.example:443/": true, "file:///etc/passwd": false,
		"gopher://x.example": false, "http://x.example:22/": false, "http:///a": false, "http://u:p@x.example/": false,
		"http://BAD.example./": false, "ftp://x.example": false, "/dev/zero": false,
	} {
		parsed, err := url.Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(parsed); (err == nil) != ok {
			t.Errorf("%s: %v", u, err)
		}
	}
	only := Policy{Hosts: []string{"good.example"}}
	if err := only.Check(&url.URL{Scheme: "http", Host: "x.example"}); !errors.Is(err, ErrRefused) {
		t.Errorf("a host that is not listed: %v", err)
	}
}

// Threat 10: CVE-2026-34881, a redirect to an internal address.
func TestThreat10Redirects(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
	defer inner.Close()
	innerURL, _ := url.Parse(inner.URL)
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, inner.URL, http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "data")
		}
	}))
	defer outer.Close()
	outerURL, _ := url.Parse(outer.URL)
	get := func(p Policy, u string) (string, error) {
		res, err := Get(t.Context(), Client(p, time.Minute), u)
		if err != nil {
			return "", err
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	closed := Policy{Ports: []string{outerURL.Port()}}
	if got, err := get(closed, outer.URL); !errors.Is(err, ErrRefused) {
		t.Errorf("an internal address: %q, %v", got, err)
	}
	open := Policy{Ports: []string{outerURL.Port()}, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if got, err := get(open, outer.URL); err != nil || got != "data" {
		t.Errorf("an allowed network: %q, %v", got, err)
	}
	for _, path := range []string{"/away", "/file", "/loop"} {
		if got, err := get(open, outer.URL+path); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	both := Policy{Ports: []string{outerURL.Port(), innerURL.Port()}, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	if got, err := get(both, outer.URL+"/away"); err != nil || got != "secret" {
		t.Errorf("a redirect within the allowed: %q, %v", got, err)
	}
}
