// Package mapping evaluates the rules of a federation mapping: from the
// attributes of an assertion to a user, groups and projects.
//
// Source: https://docs.openstack.org/keystone/latest/admin/federation/mapping_combinations.html
package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Domain names a domain.
type Domain struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// User is whom an assertion speaks of.
type User struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Email  string  `json:"email"`
	Type   string  `json:"type"` // "ephemeral" (default) or "local"
	Domain *Domain `json:"domain"`
}

// Group names a group by id, or by name and domain.
type Group struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Domain *Domain `json:"domain"`
}

// Role names a role.
type Role struct {
	Name string `json:"name"`
}

// Project is a project that the user is to have roles on, in the identity
// provider's domain unless another is named.
type Project struct {
	Name   string  `json:"name"`
	Domain *Domain `json:"domain"`
	Roles  []Role  `json:"roles"`
}

// Result is what the rules make of an assertion.
type Result struct {
	User     User
	Groups   []Group
	Projects []Project
}

type local struct {
	User     *User           `json:"user"`
	Group    *Group          `json:"group"`
	Groups   json.RawMessage `json:"groups"` // a text, with Domain
	GroupIDs string          `json:"group_ids"`
	Domain   *Domain         `json:"domain"`
	Projects []Project       `json:"projects"`
}

type remote struct {
	Type      string   `json:"type"`
	AnyOneOf  []string `json:"any_one_of"`
	NotAnyOf  []string `json:"not_any_of"`
	Whitelist []string `json:"whitelist"`
	Blacklist []string `json:"blacklist"`
	Regex     bool     `json:"regex"`
}

type rule struct {
	Local  []local  `json:"local"`
	Remote []remote `json:"remote"`
}

// Rules are the rules of one mapping.
type Rules struct{ rules []rule }

// malformed says in the words of the document what is wrong with its form.
func malformed(err error) error {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) && t.Field != "" {
		return fmt.Errorf("the rules are malformed: %s cannot be a JSON %s", t.Field, strings.Fields(t.Value)[0])
	}
	return errors.New("the rules are malformed: a list of objects is needed")
}

// Parse reads the rules of a mapping and checks their form. Patterns are of
// Go's RE2, so that none can run away.
func Parse(doc []byte) (*Rules, error) {
	r := &Rules{}
	if err := json.Unmarshal(doc, &r.rules); err != nil {
		return nil, malformed(err)
	}
	for i, x := range r.rules {
		if len(x.Local) == 0 || len(x.Remote) == 0 {
			return nil, fmt.Errorf("rule %d needs local and remote", i)
		}
		for _, q := range x.Remote {
			kinds := 0
			for _, list := range [][]string{q.AnyOneOf, q.NotAnyOf, q.Whitelist, q.Blacklist} {
				if list != nil {
					kinds++
				}
				for _, p := range list {
					if _, err := regexp.Compile(p); q.Regex && err != nil {
						return nil, fmt.Errorf("rule %d: pattern %q: %w", i, p, err)
					}
				}
			}
			if q.Type == "" || kinds > 1 {
				return nil, fmt.Errorf("rule %d: a remote entry needs a type and at most one condition", i)
			}
		}
	}
	return r, nil
}

// Apply evaluates the rules in order. ok is false where none matches or no
// rule that matches names a user.
func (r *Rules) Apply(assertion map[string]string) (*Result, bool) {
	out := &Result{}
	user := false
	for _, x := range r.rules {
		values, ok := x.match(assertion)
		if !ok {
			continue
		}
		for _, l := range x.Local {
			if l.User != nil && !user {
				out.User, user = l.user(values), true
			}
			l.add(out, values)
		}
	}
	if !user {
		// As Keystone: who has groups but no name is the asserted REMOTE_USER.
		if name := assertion["REMOTE_USER"]; name != "" && (len(out.Groups) > 0 || len(out.Projects) > 0) {
			out.User, user = User{Name: name}, true
		}
	}
	return out, user && (out.User.ID != "" || out.User.Name != "")
}

// Value returns an attribute of an assertion. Attributes come in headers,
// whose names know no case and no underscores: "openstack_user" is also found
// as OPENSTACK_USER.
func Value(assertion map[string]string, name string) (string, bool) {
	if v, ok := assertion[name]; ok {
		return v, true
	}
	v, ok := assertion[strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
	return v, ok
}

// match checks a rule's remote part and returns the values for {0}, {1} ….
func (x *rule) match(assertion map[string]string) ([][]string, bool) {
	var values [][]string
	for _, q := range x.Remote {
		text, ok := Value(assertion, q.Type)
		if !ok {
			return nil, false
		}
		have := split(text)
		switch {
		case q.AnyOneOf != nil:
			if len(q.among(q.AnyOneOf, have)) == 0 {
				return nil, false
			}
		case q.NotAnyOf != nil:
			if len(q.among(q.NotAnyOf, have)) > 0 {
				return nil, false
			}
		case q.Whitelist != nil:
			values = append(values, q.among(q.Whitelist, have))
		case q.Blacklist != nil:
			bad := q.among(q.Blacklist, have)
			values = append(values, slices.DeleteFunc(slices.Clone(have), func(s string) bool { return slices.Contains(bad, s) }))
		default:
			values = append(values, have)
		}
	}
	return values, true
}

func split(text string) []string {
	var out []string
	for v := range strings.SplitSeq(text, ";") {
		if v = strings.TrimSpace(v); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// among returns the values that are in list, or match one of its patterns.
func (q *remote) among(list, have []string) []string {
	out := []string{}
	for _, v := range have {
		for _, want := range list {
			ok := v == want
			if q.Regex {
				re, err := regexp.Compile(want)
				ok = err == nil && re.MatchString(v)
			}
			if ok {
				out = append(out, v)
				break
			}
		}
	}
	return out
}

var place = regexp.MustCompile(`\{(\d+)\}`)

// fill puts values into a text; several of one place are joined.
func fill(text string, values [][]string) string {
	return place.ReplaceAllStringFunc(text, func(p string) string {
		n, err := strconv.Atoi(p[1 : len(p)-1])
		if err != nil || n >= len(values) {
			return ""
		}
		return strings.Join(values[n], ";")
	})
}

func fillDomain(d *Domain, values [][]string) *Domain {
	if d == nil {
		return nil
	}
	return &Domain{ID: fill(d.ID, values), Name: fill(d.Name, values)}
}

func (l *local) user(values [][]string) User {
	return User{ID: fill(l.User.ID, values), Name: fill(l.User.Name, values), Email: fill(l.User.Email, values), Type: l.User.Type, Domain: fillDomain(l.User.Domain, values)}
}

// asserted reads a group as Keystone asserts its own to other clouds: a JSON
// document with the group's name and domain. What is none names no group. A
// rule that names a domain takes none of another: whoever may choose a name at
// the provider could get into any group of this cloud otherwise.
func asserted(text string) (Group, bool) {
	text, ok := strings.CutPrefix(text, "JSON:")
	if !ok {
		return Group{}, false
	}
	var g Group
	if err := json.Unmarshal([]byte(text), &g); err != nil || g.Domain == nil {
		return Group{}, true
	}
	return Group{Name: g.Name, Domain: g.Domain}, true
}

func (l *local) add(out *Result, values [][]string) {
	if g := l.Group; g != nil {
		out.Groups = append(out.Groups, Group{ID: fill(g.ID, values), Name: fill(g.Name, values), Domain: fillDomain(g.Domain, values)})
	}
	var names string
	if json.Unmarshal(l.Groups, &names) == nil && names != "" {
		for _, n := range split(fill(names, values)) {
			g, ok := asserted(n)
			switch d := fillDomain(l.Domain, values); {
			case !ok:
				out.Groups = append(out.Groups, Group{Name: n, Domain: d})
			case d == nil || g.Domain != nil && d.ID == g.Domain.ID && d.Name == g.Domain.Name:
				out.Groups = append(out.Groups, g)
			}
		}
	}
	for _, id := range split(fill(l.GroupIDs, values)) {
		out.Groups = append(out.Groups, Group{ID: id})
	}
	for _, p := range l.Projects {
		q := Project{Name: fill(p.Name, values), Domain: fillDomain(p.Domain, values)}
		for _, r := range p.Roles {
			q.Roles = append(q.Roles, Role{Name: fill(r.Name, values)})
		}
		out.Projects = append(out.Projects, q)
	}
}
