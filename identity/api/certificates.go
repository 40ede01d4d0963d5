package api

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity/manager"
)

const (
	// certificateHeader is where a front end that ends TLS puts the client's
	// certificate, which it has verified: PEM, percent-encoded (nginx's
	// $ssl_client_escaped_cert, HAProxy's ssl_c_der as PEM).
	certificateHeader = "X-Ssl-Client-Cert"
	// secretHeader shows that a request comes from a trusted front end.
	secretHeader = "X-Tropo-Federation-Secret" //nolint:gosec // the header's name
)

// clientCertificate is the verified certificate of a request's client, or nil:
// that of its TLS connection, if an authority signed it that this server
// trusts, or the one that a trusted front end tells of. Nobody else's header
// counts.
func (a *API) clientCertificate(r *http.Request) *x509.Certificate {
	if a.m.TrustedProxy(r.Header.Get(secretHeader)) {
		text, err := url.PathUnescape(r.Header.Get(certificateHeader))
		if err != nil {
			return nil
		}
		block, _ := pem.Decode([]byte(text))
		if block == nil || block.Type != "CERTIFICATE" {
			return nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return c
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// tokenless lets a client's certificate stand for a token: a request without
// one that says its scope in headers gets a token of its own, for as long as
// it takes.
func (a *API) tokenless(r *http.Request) error {
	if r.Header.Get("X-Auth-Token") != "" || !a.m.TokenlessEnabled() {
		return nil
	}
	c := a.clientCertificate(r)
	if c == nil {
		return nil
	}
	s, err := headerScope(r.Header)
	if err != nil {
		return err
	}
	text, err := a.m.Tokenless(r.Context(), c, s)
	if err != nil {
		return err
	}
	r.Header.Set("X-Auth-Token", text)
	return nil
}

// headerScope reads the scope of a request without a token.
func headerScope(h http.Header) (manager.Scope, error) {
	s := manager.Scope{
		ProjectID: h.Get("X-Project-Id"), ProjectName: h.Get("X-Project-Name"),
		ProjectDomainID: h.Get("X-Project-Domain-Id"), ProjectDomain: h.Get("X-Project-Domain-Name"),
	}
	switch {
	case s.ProjectID != "":
		return manager.Scope{HasProject: true, ProjectID: s.ProjectID}, nil
	case s.ProjectName != "":
		if s.ProjectDomainID == "" && s.ProjectDomain == "" {
			return s, fault.Invalidf("Neither Project Domain ID nor Project Domain Name was provided.")
		}
		s.HasProject = true
		return s, nil
	}
	s = manager.Scope{DomainID: h.Get("X-Domain-Id"), DomainName: h.Get("X-Domain-Name")}
	s.HasDomain = s.DomainID != "" || s.DomainName != ""
	return s, nil
}
