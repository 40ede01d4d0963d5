// Package policy is oslo.policy's rule language: named rules whose checks
// decide whether a caller may do something to a target.
//
// A service ships its default rules as one table; an operator's policy file
// (YAML or JSON, as OpenStack's services read them) overrides them by name.
// Everything fails closed: an unknown rule, a missing target key, a reference
// to a rule that does not exist all deny.
//
// The target of a check must come from the stored object, never from the
// request's body (CVE-2026-42999).
//
// Source: https://docs.openstack.org/oslo.policy/latest/admin/policy-yaml-file.html
package policy

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Rule is a named check of a service's default policy.
type Rule struct {
	// Name is what the API asks for ("os_compute_api:servers:create") or a
	// name that other rules refer to ("admin_api").
	Name string
	// Check is in oslo.policy's language; empty allows everybody.
	Check string
	// Description is for the reference and the sample file.
	Description string
	// Scopes are the token scopes that the rule accepts when scopes are
	// enforced: "project", "domain", "system". Empty: any.
	Scopes []string
}

// Creds says who is calling; checks see it as the credentials dictionary, in
// which a field that is empty is absent (and so matches nothing).
type Creds struct {
	UserID          string   // user_id, user
	UserDomainID    string   // user_domain_id
	ProjectID       string   // project_id, tenant_id, tenant
	ProjectDomainID string   // project_domain_id
	DomainID        string   // domain_id: the domain of a domain-scoped token
	SystemScope     string   // system_scope: "all" for a system-scoped token
	Roles           []string // roles
	IsAdmin         bool     // is_admin

	// The service that carries the user's request (X-Service-Token).
	ServiceUserID          string   // service_user_id
	ServiceUserDomainID    string   // service_user_domain_id
	ServiceProjectID       string   // service_project_id
	ServiceProjectDomainID string   // service_project_domain_id
	ServiceRoles           []string // service_roles

	// Token is the token's document for dotted names such as
	// token.project.domain.id.
	Token map[string]any
	// TokenDocument makes Token when a check first asks for it; nil: Token is
	// all there is.
	TokenDocument func() map[string]any
	// Extra holds whatever else a service's checks ask for.
	Extra map[string]any
}

// Target describes the object acted upon. A key is looked up flat first
// ("target.user.domain_id"), then nested (["target"]["user"]["domain_id"]).
// tenant_id and project_id stand for each other when only one is there.
type Target map[string]any

// Scope returns "system", "domain" or "project"; as in oslo.policy a token
// without any scope counts as a project's.
func (c *Creds) Scope() string {
	switch {
	case c.SystemScope != "":
		return "system"
	case c.DomainID != "":
		return "domain"
	}
	return "project"
}

// lookup finds a key of the credentials dictionary; false when it is absent
// or empty.
func (c *Creds) lookup(key string) (any, bool) {
	if s, known := c.text(key); known {
		return s, s != ""
	}
	switch key {
	case "roles":
		return c.Roles, len(c.Roles) > 0
	case "service_roles":
		return c.ServiceRoles, len(c.ServiceRoles) > 0
	case "is_admin":
		return c.IsAdmin, true
	}
	if v, ok := dig(c.Extra, key); ok {
		return v, true
	}
	if rest, ok := strings.CutPrefix(key, "token."); ok {
		if c.Token == nil && c.TokenDocument != nil {
			c.Token = c.TokenDocument()
		}
		return dig(c.Token, rest)
	}
	if key == "is_admin_project" { // the default of oslo.context
		return true, true
	}
	return nil, false
}

func (c *Creds) text(key string) (string, bool) {
	switch key {
	case "user_id", "user":
		return c.UserID, true
	case "user_domain_id":
		return c.UserDomainID, true
	case "project_id", "tenant_id", "tenant":
		return c.ProjectID, true
	case "project_domain_id":
		return c.ProjectDomainID, true
	case "domain_id":
		return c.DomainID, true
	case "system_scope":
		return c.SystemScope, true
	case "service_user_id":
		return c.ServiceUserID, true
	case "service_user_domain_id":
		return c.ServiceUserDomainID, true
	case "service_project_id":
		return c.ServiceProjectID, true
	case "service_project_domain_id":
		return c.ServiceProjectDomainID, true
	}
	return "", false
}

func (t Target) lookup(key string) (any, bool) {
	if v, ok := dig(t, key); ok {
		return v, true
	}
	switch key {
	case "tenant_id":
		v, ok := t["project_id"]
		return v, ok
	case "project_id":
		v, ok := t["tenant_id"]
		return v, ok
	}
	return nil, false
}

// dig looks key up in m, whole first, then split at each dot. Of a list of
// documents it finds what each of them has.
func dig(m map[string]any, key string) (any, bool) {
	if v, ok := m[key]; ok {
		return v, true
	}
	for i := range len(key) {
		if key[i] != '.' {
			continue
		}
		switch next := m[key[:i]].(type) {
		case map[string]any:
			if v, ok := dig(next, key[i+1:]); ok {
				return v, true
			}
		case Target:
			if v, ok := dig(next, key[i+1:]); ok {
				return v, true
			}
		case map[string]string:
			if v, ok := next[key[i+1:]]; ok {
				return v, true
			}
		case []map[string]any:
			var all []any
			for _, e := range next {
				if v, ok := dig(e, key[i+1:]); ok {
					all = append(all, v)
				}
			}
			if len(all) > 0 {
				return all, true
			}
		}
	}
	return nil, false
}

// text renders a scalar as Python's str() does, since checks compare text:
// None, True, False. It reports false for anything that is not a scalar.
func text(v any) (string, bool) {
	switch x := v.(type) {
	case nil:
		return "None", true
	case string:
		return x, true
	case bool:
		return pyBool(x), true
	case int:
		return strconv.Itoa(x), true
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return "None", true
		}
		return text(r.Elem().Interface())
	case reflect.String:
		return r.String(), true
	case reflect.Bool:
		return pyBool(r.Bool()), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64:
		return fmt.Sprint(v), true
	}
	return "", false
}

func pyBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// matches reports whether the credential value v equals want; a list matches
// when one of its elements does.
func matches(v any, want string) bool {
	switch x := v.(type) {
	case []string:
		for _, s := range x {
			if s == want {
				return true
			}
		}
		return false
	case []any:
		for _, e := range x {
			if s, ok := text(e); ok && s == want {
				return true
			}
		}
		return false
	}
	s, ok := text(v)
	return ok && s == want
}
