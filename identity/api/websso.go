package api

import (
	"bytes"
	"html/template"
	"net/http"
	"strings"

	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) webssoRoutes() []rest.Route {
	const any, one = "/v3/auth/OS-FEDERATION/websso/{protocol_id}", "/v3/auth/OS-FEDERATION/identity_providers/{idp_id}/protocols/{protocol_id}/websso"
	return []rest.Route{
		rest.GET(any, a.websso, rest.Open()), rest.POST(any, a.websso, rest.Open()),
		rest.GET(one, a.websso, rest.Open()), rest.POST(one, a.websso, rest.Open()),
	}
}

// mappedProof is the assertion in a request's headers, nil unless the front
// end that checks assertions sent it. A header X-Name is the attribute
// "X-Name", X_NAME and, as behind Apache, HTTP_X_NAME; X-Remote-User alone is
// REMOTE_USER too. Names with an underscore are passed over, as Apache does: a
// client could send them beside those that the front end sets.
func (a *API) mappedProof(r *rest.Request) *manager.MappedProof {
	const secret = "X-Tropo-Federation-Secret" //nolint:gosec // the header's name
	if !a.m.TrustedProxy(r.Header(secret)) {
		return nil
	}
	p := &manager.MappedProof{ProviderID: r.Var("idp_id"), ProtocolID: r.Var("protocol_id"), Assertion: map[string]string{}}
	for name, v := range r.HTTP.Header {
		if name == secret || name == "X-Auth-Token" || name == "Authorization" || strings.Contains(name, "_") {
			continue
		}
		text, upper := strings.Join(v, ";"), strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		p.Assertion[name], p.Assertion["HTTP_"+upper] = text, text
		if upper != "REMOTE_USER" {
			p.Assertion[upper] = text
		}
	}
	if u := r.Header("X-Remote-User"); u != "" {
		p.Assertion["REMOTE_USER"] = u
	}
	return p
}

var webssoPage = template.Must(template.New("websso").Parse(`<!DOCTYPE html>
<html><head><title>Signing in</title></head>
<body><form id="sso" action="{{.Origin}}" method="post"><input type="hidden" name="token" value="{{.Token}}"/><noscript><input type="submit" value="Continue"/></noscript></form>
<script>document.forms[0].submit()</script></body></html>
`))

// websso signs a browser in: the page that it answers posts an unscoped token
// to the dashboard which sent the browser, if that is a trusted one.
func (a *API) websso(r *rest.Request) (any, error) {
	origin := r.Query().Get("origin")
	if err := a.m.TrustedDashboard(origin); err != nil {
		return nil, err
	}
	proof := a.mappedProof(r)
	if proof != nil && proof.ProviderID == "" {
		id, err := a.m.ProviderOf(r.Context(), proof)
		if err != nil {
			return nil, err
		}
		proof.ProviderID = id
	}
	text, _, err := a.m.Authenticate(r.Context(), manager.AuthRequest{Methods: []string{identity.MethodMapped}, Mapped: proof, Scope: manager.Scope{Unscoped: true}})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := webssoPage.Execute(&b, struct{ Origin, Token string }{origin, text}); err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusOK, Body: b.Bytes(), Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"}, "X-Frame-Options": {"DENY"}}}, nil
}
