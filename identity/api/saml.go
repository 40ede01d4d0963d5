package api

import (
	"net/http"

	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) samlRoutes() []rest.Route {
	const base = "/v3/auth/OS-FEDERATION/saml2"
	return []rest.Route{
		rest.POST(base, a.assert(false), rest.Open(), rest.Schema("saml")),
		rest.POST(base+"/ecp", a.assert(true), rest.Open(), rest.Schema("saml")),
		rest.GET("/v3/OS-FEDERATION/saml2/metadata", a.samlMetadata, rest.Open()),
	}
}

// samlDocument is the body of a request for an assertion: a token of a
// project, and for whom.
type samlDocument struct {
	Auth struct {
		Identity struct {
			Methods []string `json:"methods"`
			Token   named    `json:"token"`
		} `json:"identity"`
		Scope struct {
			ServiceProvider named `json:"service_provider"`
		} `json:"scope"`
	} `json:"auth"`
}

// assert answers with an assertion for another cloud; its proof is the token
// in the body.
func (a *API) assert(ecp bool) rest.Handler {
	return func(r *rest.Request) (any, error) {
		var d samlDocument
		if err := r.Decode(&d); err != nil {
			return nil, err
		}
		x, err := a.m.AssertTo(r.Context(), d.Auth.Identity.Token.ID, d.Auth.Scope.ServiceProvider.ID, ecp)
		if err != nil {
			return nil, err
		}
		return xmlResponse(x), nil
	}
}

func xmlResponse(x *manager.Assertion) *rest.Response {
	return &rest.Response{Status: http.StatusOK, Body: x.XML, Header: http.Header{
		"Content-Type": {"text/xml"}, "Cache-Control": {"no-store"}, "X-Sp-Url": {x.Provider.SPURL}, "X-Auth-Url": {x.Provider.AuthURL},
	}}
}

func (a *API) samlMetadata(*rest.Request) (any, error) {
	b, err := a.m.IdPMetadata()
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusOK, Body: b, Header: http.Header{"Content-Type": {"text/xml"}}}, nil
}
