package auth

import "time"

// tokenDocument is what policies may ask of the caller's token by dotted names
// such as token.project.domain.id, as in Keystone's document without the
// catalog. Extensions are under their own names ("OS-TRUST:trust").
func (i *Identity) tokenDocument() map[string]any {
	pair := func(r Ref) map[string]any { return map[string]any{"id": r.ID, "name": r.Name} }
	within := func(r, domain Ref) map[string]any {
		m := pair(r)
		m["domain"] = pair(domain)
		return m
	}
	out := map[string]any{
		"user": within(i.User, i.UserDomain), "methods": i.Methods, "audit_ids": i.AuditIDs,
		"issued_at": i.IssuedAt.UTC().Format(time.RFC3339Nano), "expires_at": i.ExpiresAt.UTC().Format(time.RFC3339Nano),
	}
	switch {
	case i.Project.ID != "":
		out["project"], out["is_domain"] = within(i.Project, i.ProjectDomain), i.IsDomainProject
		if i.AdminProject != nil {
			out["is_admin_project"] = *i.AdminProject
		}
	case i.Domain.ID != "":
		out["domain"] = pair(i.Domain)
	case i.System:
		out["system"] = map[string]any{"all": true}
	}
	roles := make([]map[string]any, len(i.Roles))
	for n, r := range i.Roles {
		roles[n] = pair(r)
	}
	out["roles"] = roles
	if i.TrustID != "" {
		out["OS-TRUST:trust"] = map[string]any{"id": i.TrustID, "trustor_user": map[string]any{"id": i.TrustorID}}
	}
	if i.AppCredentialID != "" {
		out["application_credential"] = map[string]any{"id": i.AppCredentialID, "restricted": !i.AppCredUnrestrict}
	}
	return out
}
