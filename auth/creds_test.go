package auth_test

import (
	"testing"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/policy"
)

// Policies may ask the caller's token by the dotted names of its document, as
// Keystone's samples do.
func TestCredsTellOfTheToken(t *testing.T) {
	yes, no := true, false
	user, domain := auth.Ref{ID: "u", Name: "ann"}, auth.Ref{ID: "d", Name: "Dom"}
	who := map[string]*auth.Identity{
		"project": {
			User: user, UserDomain: domain, Project: auth.Ref{ID: "p", Name: "proj"}, ProjectDomain: domain, Roles: []auth.Ref{{ID: "1", Name: "reader"}, {ID: "2", Name: "member"}},
			Methods: []string{"password", "totp"}, IsDomainProject: true, AdminProject: &yes,
		},
		"domain":  {User: user, UserDomain: domain, Domain: domain},
		"system":  {User: user, UserDomain: domain, System: true, AppCredentialID: "a", TrustID: "t", TrustorID: "u"},
		"another": {User: user, UserDomain: domain, Project: auth.Ref{ID: "q"}, AdminProject: &no},
	}
	target := policy.Target{"domain_id": "d", "project_id": "p", "target.token.user_id": "u"}
	for check, want := range map[string]string{
		"token.project.id:%(project_id)s":                  "project",
		"token.project.domain.id:%(domain_id)s":            "project",
		"token.domain.id:%(domain_id)s":                    "domain",
		"token.is_admin_project:True":                      "project",
		"is_admin_project:True":                            "project domain system",
		"token.is_domain:True":                             "project",
		"token.methods:totp":                               "project",
		"token.roles.name:member":                          "project",
		"token.roles.name:admin":                           "",
		"token.system.all:True":                            "system",
		"token.application_credential.restricted:True":     "system",
		"token.OS-TRUST:trust.id:t":                        "",
		"token.user.id:%(target.token.user_id)s":           "project domain system another",
		"token.user.domain.name:Dom":                       "project domain system another",
		"user_id:%(target.token.user_id)s":                 "project domain system another",
		"token.user.password:x or token.nonsense.id:%(x)s": "",
	} {
		e, err := policy.NewEnforcer([]policy.Rule{{Name: "r", Check: check}}, policy.Options{})
		if err != nil {
			t.Fatalf("%s: %v", check, err)
		}
		got := ""
		for _, name := range []string{"project", "domain", "system", "another"} {
			if e.Allowed("r", who[name].Creds(), target) {
				if got != "" {
					got += " "
				}
				got += name
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", check, got, want)
		}
	}
}

// A token's document tells whether its project is the cloud's.
func TestAdminProjectIsRead(t *testing.T) {
	id, err := auth.ParseToken([]byte(`{"token":{"user":{"id":"u"},"project":{"id":"p"},"is_admin_project":false}}`))
	if err != nil || id.AdminProject == nil || *id.AdminProject {
		t.Errorf("%+v %v", id, err)
	}
}
