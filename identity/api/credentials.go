package api

import (
	"net/http"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/manager"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) credentialRoutes() []rest.Route {
	created := rest.Status(http.StatusCreated)
	const ec2 = "/v3/users/{user_id}/credentials/OS-EC2"
	return []rest.Route{
		rest.GET("/v3/credentials", a.listCredentials, a.on("identity:list_credentials", loadOwnCredentials)),
		rest.POST("/v3/credentials", a.createCredential, a.on("identity:create_credential", loadNewCredential), rest.Schema("credential_create"), created),
		rest.GET("/v3/credentials/{credential_id}", a.showCredential, a.on("identity:get_credential", loadCredential)),
		rest.PATCH("/v3/credentials/{credential_id}", a.updateCredential, a.on("identity:update_credential", loadCredential), rest.Schema("credential_update")),
		rest.DELETE("/v3/credentials/{credential_id}", a.deleteCredential, a.on("identity:delete_credential", loadCredential)),
		rest.GET(ec2, a.listEC2, a.on("identity:ec2_list_credentials", loadUser)),
		rest.POST(ec2, a.createEC2, a.on("identity:ec2_create_credential", loadEC2Owner), rest.Schema("ec2_create"), created),
		rest.GET(ec2+"/{access}", a.showEC2, a.on("identity:ec2_get_credential", loadUser, loadEC2)),
		rest.DELETE(ec2+"/{access}", a.deleteEC2, a.on("identity:ec2_delete_credential", loadUser, loadEC2)),
		rest.POST("/v3/ec2tokens", a.ec2Token, a.on("identity:ec2tokens_validate")),
		rest.POST("/v3/s3tokens", a.s3Token, a.on("identity:s3tokens_validate")),
	}
}

func loadCredential(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.credential, err = a.m.Credential(r.Context(), r.Var("credential_id")); err == nil {
		t["target.credential.user_id"], t["target.credential.project_id"] = o.credential.UserID, string(o.credential.ProjectID)
	}
	return err
}

// loadOwnCredentials lets everybody list: the list then holds what the caller
// may see (CVE-2019-19687).
func loadOwnCredentials(_ *API, r *rest.Request, _ *objects, t policy.Target) error {
	t["target.credential.user_id"] = r.Caller().User.ID
	return nil
}

// loadNewCredential takes the owner that the credential will have as the
// target.
func loadNewCredential(_ *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	if o.in, err = body(r, "credential"); err != nil {
		return err
	}
	owner := str(o.in, "user_id")
	if owner == "" {
		owner = r.Caller().User.ID
	}
	t["target.credential.user_id"] = owner
	return nil
}

func loadEC2Owner(a *API, r *rest.Request, o *objects, t policy.Target) error {
	t["target.credential.user_id"] = r.Var("user_id")
	return loadUser(a, r, o, t)
}

func loadEC2(a *API, r *rest.Request, o *objects, t policy.Target) (err error) {
	id := r.Var("access")
	o.credential, err = a.m.Credential(r.Context(), manager.EC2ID(id))
	if err == nil && (o.credential.UserID != o.user.ID || o.credential.Type != manager.CredentialEC2) {
		err = fault.New(fault.NotFound, "Could not find credential: %s.", id)
	}
	if err == nil {
		t["target.credential.user_id"] = o.credential.UserID
	}
	if fault.Is(err, fault.NotFound) {
		t["target.credential.user_id"] = o.user.ID
	}
	return err
}

func viewCredential(r *rest.Request, c *identity.Credential) doc { return view(r, *c, "/credentials") }

func (a *API) listCredentials(r *rest.Request) (any, error) {
	q, err := query(r, map[string]field{"user_id": {"user_id", text}, "type": {"credential_type", text}, "project_id": {"project_id", text}})
	if err != nil {
		return nil, err
	}
	if c := r.Caller(); !c.IsAdmin() && !(c.System && c.HasRole("reader")) {
		q = q.And("user_id", c.User.ID)
	}
	list, err := a.m.Credentials(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "credentials", list, q.Limit, func(c *identity.Credential) string { return c.ID }, func(c *identity.Credential) doc { return viewCredential(r, c) }), nil
}

func (a *API) createCredential(r *rest.Request) (any, error) {
	in := found(r).in
	var c identity.Credential
	if err := apply(in, &c); err != nil {
		return nil, err
	}
	if c.UserID == "" {
		c.UserID = r.Caller().User.ID
	}
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	v, err := a.m.CreateCredential(r.Context(), t, c)
	if err != nil {
		return nil, err
	}
	return doc{"credential": viewCredential(r, v)}, nil
}

func (a *API) showCredential(r *rest.Request) (any, error) {
	return doc{"credential": viewCredential(r, found(r).credential)}, nil
}

func (a *API) updateCredential(r *rest.Request) (any, error) {
	in, err := body(r, "credential")
	if err != nil {
		return nil, err
	}
	before := found(r).credential
	after := *before
	if err := apply(in, &after); err != nil {
		return nil, err
	}
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	return doc{"credential": viewCredential(r, &after)}, a.m.UpdateCredential(r.Context(), t, before, &after)
}

func (a *API) deleteCredential(r *rest.Request) (any, error) {
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	return nil, a.m.DeleteCredential(r.Context(), t, found(r).credential.ID)
}

func viewEC2(r *rest.Request, v *manager.EC2Credential) doc {
	return doc{
		"access": v.Access, "secret": v.Secret, "user_id": v.UserID, "tenant_id": v.ProjectID, "trust_id": nullID(v.TrustID),
		"links": self(r, "/users/"+v.UserID+"/credentials/OS-EC2/"+v.Access),
	}
}

func (a *API) listEC2(r *rest.Request) (any, error) {
	list, err := a.m.EC2Credentials(r.Context(), found(r).user.ID)
	if err != nil {
		return nil, err
	}
	return viewAll(r, "credentials", list, 0, nil, func(v *manager.EC2Credential) doc { return viewEC2(r, v) }), nil
}

func (a *API) createEC2(r *rest.Request) (any, error) {
	var in struct {
		TenantID string `json:"tenant_id"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	t, err := a.caller(r)
	if err != nil {
		return nil, err
	}
	v, err := a.m.CreateEC2(r.Context(), t, found(r).user.ID, in.TenantID)
	if err != nil {
		return nil, err
	}
	return doc{"credential": viewEC2(r, v)}, nil
}

func (a *API) showEC2(r *rest.Request) (any, error) {
	v, err := manager.ReadEC2(found(r).credential)
	if err != nil {
		return nil, err
	}
	return doc{"credential": viewEC2(r, v)}, nil
}

func (a *API) deleteEC2(r *rest.Request) (any, error) { return a.deleteCredential(r) }

// ec2Token changes a signed EC2 request for a token. Only services may ask:
// a signature that was seen elsewhere must not be worth a token to whoever
// saw it (CVE-2025-65073).
func (a *API) ec2Token(r *rest.Request) (any, error) { return a.signedToken(r, manager.SignatureEC2) }

func (a *API) s3Token(r *rest.Request) (any, error) { return a.signedToken(r, manager.SignatureS3) }

func (a *API) signedToken(r *rest.Request, kind manager.SignatureKind) (any, error) {
	var in struct {
		Credentials    *manager.Signed `json:"credentials"`
		EC2Credentials *manager.Signed `json:"ec2Credentials"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	s := in.Credentials
	if s == nil {
		s = in.EC2Credentials
	}
	if s == nil {
		return nil, fault.Invalidf("The body needs credentials.")
	}
	text, t, err := a.m.AuthenticateSigned(r.Context(), kind, *s)
	if err != nil {
		return nil, err
	}
	return tokenResponse(r, text, t, http.StatusOK)
}
