package api

import (
	"encoding/json"

	"github.com/tropocloud/tropo/identity"
)

// renderToken makes a token's document, once per token; the catalog, most of
// it, once for all tokens of a user on a scope.
func renderToken(t *identity.Token, catalog bool) ([]byte, error) {
	if !catalog || !scoped(t) {
		return t.Memo("document", func() ([]byte, error) { return json.Marshal(doc{"token": viewToken(t)}) })
	}
	return t.Memo("document with catalog", func() ([]byte, error) {
		plain, err := json.Marshal(doc{"token": viewToken(t)})
		if err != nil {
			return nil, err
		}
		list, err := t.Common("catalog", func() (any, error) { return json.Marshal(viewCatalog(t.Catalog)) })
		if err != nil {
			return nil, err
		}
		text, _ := list.([]byte)
		const head = `{"token":{`
		out := make([]byte, 0, len(plain)+len(text)+len(`"catalog":,`))
		out = append(out, head+`"catalog":`...)
		out = append(append(out, text...), ',')
		return append(out, plain[len(head):]...), nil
	})
}

func scoped(t *identity.Token) bool { return t.Project != nil || t.Domain != nil || t.System }

func pair(p *identity.Project) doc { return doc{"id": p.ID, "name": p.Name} }

func viewToken(t *identity.Token) doc {
	user := doc{"id": t.User.ID, "name": t.User.Name, "domain": pair(t.UserDomain), "password_expires_at": stampOrNull(t.PasswordExpiresAt)}
	if t.ProviderID != "" {
		groups := make([]doc, len(t.GroupIDs))
		for i, g := range t.GroupIDs {
			groups[i] = doc{"id": g}
		}
		delete(user, "password_expires_at")
		user["OS-FEDERATION"] = doc{"groups": groups, "identity_provider": doc{"id": t.ProviderID}, "protocol": doc{"id": t.ProtocolID}}
	}
	out := doc{"methods": t.Methods, "user": user, "audit_ids": t.AuditIDs, "expires_at": stamp(t.ExpiresAt), "issued_at": stamp(t.IssuedAt)}
	switch {
	case t.Project != nil:
		out["project"] = doc{"id": t.Project.ID, "name": t.Project.Name, "domain": pair(t.ProjectDomain)}
		out["is_domain"] = t.Project.IsDomain
		if t.AdminProject != nil {
			out["is_admin_project"] = *t.AdminProject
		}
	case t.Domain != nil:
		out["domain"] = pair(t.Domain)
	case t.System:
		out["system"] = doc{"all": true}
	default:
		viewDelegation(out, t)
		return out
	}
	roles := make([]doc, len(t.Roles))
	for i, r := range t.Roles {
		roles[i] = doc{"id": r.ID, "name": r.Name}
	}
	out["roles"] = roles
	viewDelegation(out, t)
	return out
}

func viewDelegation(out doc, t *identity.Token) {
	if tr := t.Trust; tr != nil {
		out["OS-TRUST:trust"] = doc{"id": tr.ID, "trustor_user": doc{"id": tr.TrustorID}, "trustee_user": doc{"id": tr.TrusteeID}, "impersonation": tr.Impersonation}
	}
	if c := t.AppCred; c != nil {
		d := doc{"id": c.ID, "name": c.Name, "restricted": !c.Unrestricted}
		if c.Ruled {
			rules := make([]doc, len(t.AccessRules))
			for i, r := range t.AccessRules {
				rules[i] = doc{"id": r.ID, "service": r.Service, "method": r.Method, "path": r.Path}
			}
			d["access_rules"] = rules
		}
		out["application_credential"] = d
	}
	if x := t.AccessToken; x != nil {
		out["OS-OAUTH1"] = doc{"access_token_id": x.ID, "consumer_id": x.ConsumerID}
	}
	if t.Thumbprint != "" {
		out["oauth2_credential"] = doc{"x5t#S256": t.Thumbprint}
	}
}

func viewCatalog(list []identity.CatalogEntry) []doc {
	out := make([]doc, len(list))
	for i, c := range list {
		eps := make([]doc, len(c.Endpoints))
		for j, e := range c.Endpoints {
			eps[j] = doc{"id": e.ID, "interface": e.Interface, "region": e.RegionID, "region_id": e.RegionID, "url": e.URL}
		}
		out[i] = doc{"id": c.Service.ID, "type": c.Service.Type, "name": c.Service.Name, "endpoints": eps}
	}
	return out
}
