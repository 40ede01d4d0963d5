package api

import (
	"net/http"
	"net/url"

	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) oauth1Routes() []rest.Route {
	const one = "/v3/OS-OAUTH1/consumers/{consumer_id}"
	const tokens = "/v3/users/{user_id}/OS-OAUTH1/access_tokens"
	created := rest.Status(http.StatusCreated)
	return []rest.Route{
		rest.GET("/v3/OS-OAUTH1/consumers", a.listConsumers, a.on("identity:list_consumers")),
		rest.POST("/v3/OS-OAUTH1/consumers", a.createConsumer, a.on("identity:create_consumer"), rest.Schema("consumer_create"), created),
		rest.GET(one, a.showConsumer, a.on("identity:get_consumer", loadConsumer)),
		rest.PATCH(one, a.updateConsumer, a.on("identity:update_consumer", loadConsumer), rest.Schema("consumer_update")),
		rest.DELETE(one, a.deleteConsumer, a.on("identity:delete_consumer", loadConsumer)),
		rest.POST("/v3/OS-OAUTH1/request_token", a.requestToken, rest.Open(), created),
		rest.PUT("/v3/OS-OAUTH1/authorize/{request_token_id}", a.authorizeRequest, a.on("identity:authorize_request_token"), rest.Schema("oauth_authorize")),
		rest.POST("/v3/OS-OAUTH1/access_token", a.accessToken, rest.Open(), created),
		rest.GET(tokens, a.listAccessTokens, a.on("identity:list_access_tokens", loadUser)),
		rest.GET(tokens+"/{access_token_id}", a.showAccessToken, a.on("identity:get_access_token", loadUser, loadAccessToken)),
		rest.DELETE(tokens+"/{access_token_id}", a.deleteAccessToken, a.on("identity:delete_access_token", loadUser, loadAccessToken)),
		rest.GET(tokens+"/{access_token_id}/roles", a.listAccessTokenRoles, a.on("identity:list_access_token_roles", loadUser, loadAccessToken)),
		rest.GET(tokens+"/{access_token_id}/roles/{role_id}", a.showAccessTokenRole, a.on("identity:get_access_token_role", loadUser, loadAccessToken)),
	}
}

func loadConsumer(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.consumer, err = a.m.Consumer(r.Context(), r.Var("consumer_id"))
	return err
}

func loadAccessToken(a *API, r *rest.Request, o *objects, _ policy.Target) (err error) {
	o.access, err = a.m.AccessTokenOf(r.Context(), o.user.ID, r.Var("access_token_id"))
	return err
}

func viewConsumer(r *rest.Request, c *identity.Consumer) doc {
	return view(r, *c, "/OS-OAUTH1/consumers")
}

func (a *API) listConsumers(r *rest.Request) (any, error) {
	list, err := a.m.Consumers(r.Context())
	if err != nil {
		return nil, err
	}
	return viewAll(r, "consumers", list, 0, nil, func(c *identity.Consumer) doc { return viewConsumer(r, c) }), nil
}

func (a *API) createConsumer(r *rest.Request) (any, error) {
	in, err := body(r, "consumer")
	if err != nil {
		return nil, err
	}
	var c identity.Consumer
	if err := apply(in, &c, "secret"); err != nil {
		return nil, err
	}
	v, err := a.m.CreateConsumer(r.Context(), c)
	if err != nil {
		return nil, err
	}
	d := viewConsumer(r, v)
	d["secret"] = v.Secret // shown once
	return doc{"consumer": d}, nil
}

func (a *API) showConsumer(r *rest.Request) (any, error) {
	return doc{"consumer": viewConsumer(r, found(r).consumer)}, nil
}

func (a *API) updateConsumer(r *rest.Request) (any, error) {
	in, err := body(r, "consumer")
	if err != nil {
		return nil, err
	}
	before := found(r).consumer
	after := *before
	if err := apply(in, &after, "secret"); err != nil {
		return nil, err
	}
	return doc{"consumer": viewConsumer(r, &after)}, a.m.UpdateConsumer(r.Context(), before, &after)
}

func (a *API) deleteConsumer(r *rest.Request) (any, error) {
	return nil, a.m.DeleteConsumer(r.Context(), found(r).consumer.ID)
}

// oauthProof is the request as its OAuth1 signature covers it.
func oauthProof(r *rest.Request) *manager.OAuthProof {
	return &manager.OAuthProof{Method: r.HTTP.Method, URL: r.Base() + r.HTTP.URL.Path, Authorization: r.Header("Authorization"), Query: r.Query()}
}

func form(v url.Values) (any, error) {
	return &rest.Response{Body: []byte(v.Encode()), Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}, nil
}

func (a *API) requestToken(r *rest.Request) (any, error) {
	t, err := a.m.RequestToken(r.Context(), oauthProof(r), r.Header("Requested-Project-Id"))
	if err != nil {
		return nil, err
	}
	return form(url.Values{"oauth_token": {t.ID}, "oauth_token_secret": {t.Secret}, "oauth_expires_at": {stamp(t.ExpiresAt)}})
}

func (a *API) authorizeRequest(r *rest.Request) (any, error) {
	var in doc
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	v, err := a.m.AuthorizeRequest(r.Context(), t, r.Var("request_token_id"), roleRefs(in))
	if err != nil {
		return nil, err
	}
	return doc{"token": doc{"oauth_verifier": v}}, nil
}

func (a *API) accessToken(r *rest.Request) (any, error) {
	t, err := a.m.AccessToken(r.Context(), oauthProof(r))
	if err != nil {
		return nil, err
	}
	v := url.Values{"oauth_token": {t.ID}, "oauth_token_secret": {t.Secret}}
	if t.ExpiresAt != nil {
		v.Set("oauth_expires_at", stamp(*t.ExpiresAt))
	}
	return form(v)
}

func viewAccessToken(r *rest.Request, t *identity.AccessToken) doc {
	base := "/users/" + t.UserID + "/OS-OAUTH1/access_tokens"
	d := view(r, *t, base)
	d["links"].(doc)["roles"] = r.Link("/v3" + base + "/" + t.ID + "/roles")
	return d
}

func (a *API) listAccessTokens(r *rest.Request) (any, error) {
	list, err := a.m.AccessTokens(r.Context(), found(r).user.ID)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "access_tokens", list, 0, nil, func(t *identity.AccessToken) doc { return viewAccessToken(r, t) }), nil
}

func (a *API) showAccessToken(r *rest.Request) (any, error) {
	return doc{"access_token": viewAccessToken(r, found(r).access)}, nil
}

func (a *API) deleteAccessToken(r *rest.Request) (any, error) {
	return nil, a.m.DeleteAccessToken(r.Context(), found(r).access.ID)
}

func (a *API) listAccessTokenRoles(r *rest.Request) (any, error) {
	roles, err := a.m.RolesByID(r.Context(), found(r).access.RoleIDs)
	if err != nil {
		return nil, err
	}
	return viewRoles(r, roles, 0), nil
}

func (a *API) showAccessTokenRole(r *rest.Request) (any, error) {
	role, err := a.m.AccessTokenRole(r.Context(), found(r).access, r.Var("role_id"))
	if err != nil {
		return nil, err
	}
	return doc{"role": viewRole(r, role)}, nil
}
