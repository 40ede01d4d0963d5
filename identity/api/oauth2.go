package api

import (
	"net/http"
	"net/url"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) oauth2Routes() []rest.Route {
	return []rest.Route{rest.POST("/v3/OS-OAUTH2/token", a.oauth2Token, rest.Open())}
}

// oauth2Token is the client credentials grant (RFC 6749, section 4.4): the
// client is an application credential, which authenticates by its secret
// (section 2.3.1), or a user who does by a certificate (RFC 8705).
func (a *API) oauth2Token(r *rest.Request) (any, error) {
	form, err := url.ParseQuery(string(r.Body()))
	if err != nil {
		return nil, fault.Invalidf("The body is no form.")
	}
	if g := form.Get("grant_type"); g != "client_credentials" {
		return oauth2Error(http.StatusBadRequest, "unsupported_grant_type", "The grant type "+g+" is not supported by the authorization server."), nil
	}
	id, secret, ok := r.HTTP.BasicAuth()
	if !ok {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	cert := a.clientCertificate(r.HTTP)
	var text string
	var t *identity.Token
	switch {
	case (ok || secret != "") && a.m.OAuth2Allows(manager.OAuth2Secret):
		text, t, err = a.m.Authenticate(r.Context(), manager.AuthRequest{
			Methods: []string{identity.MethodApplicationCredential},
			AppCred: &manager.AppCredProof{ID: id, Secret: secret},
		})
	case cert != nil && id != "" && a.m.OAuth2Allows(manager.OAuth2Certificate):
		text, t, err = a.m.ClientToken(r.Context(), id, cert)
	default:
		err = fault.Unauthenticatedf("The client shows no proof that is accepted.")
	}
	if fault.Is(err, fault.Unauthenticated) {
		return oauth2Error(http.StatusUnauthorized, "invalid_client", "Client authentication failed."), nil
	}
	if err != nil {
		return nil, err
	}
	return &rest.Response{
		Status: http.StatusOK, Header: http.Header{"Cache-Control": {"no-store"}, "Pragma": {"no-cache"}},
		Body: doc{"access_token": text, "token_type": "Bearer", "expires_in": int(t.ExpiresAt.Sub(t.IssuedAt) / time.Second)},
	}, nil
}

// oauth2Error is the error document of section 5.2.
func oauth2Error(status int, code, text string) *rest.Response {
	h := http.Header{}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="identity"`)
	}
	return &rest.Response{Status: status, Header: h, Body: doc{"error": code, "error_description": text}}
}
