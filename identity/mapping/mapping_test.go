package mapping

import (
	"strings"
	"testing"
)

// TestMalformedRules: what is wrong with rules is told in terms of the
// document, not of the types that it is read into.
func TestMalformedRules(t *testing.T) {
	for doc, want := range map[string]string{
		`[{"local":[{}],"remote":[{"type":"x","not_any_of":1.5}]}]`: "cannot be a JSON number",
		`[{"local":[["x"]],"remote":[{"type":"x"}]}]`:               "local cannot be a JSON array",
		`"x"`: "a list of objects is needed",
		`[1]`: "a list of objects is needed",
	} {
		_, err := Parse([]byte(doc))
		if err == nil {
			t.Errorf("%s: accepted", doc)
			continue
		}
		got := err.Error()
		if !strings.Contains(got, want) || strings.Contains(got, "Go ") || strings.Contains(got, "json:") {
			t.Errorf("%s: %s", doc, got)
		}
	}
}

// Groups come as names, or as another Keystone asserts its own; attributes are
// found whatever became of their names in a header.
func TestAssertedGroups(t *testing.T) {
	const text = `plain;JSON:{"name":"devs","domain":{"name":"There"}};JSON:{"name":"ours","domain":{"name":"Here"}};JSON:{"name":"without a domain"};JSON:[];` +
		`JSON:{"name":"tricky","domain":{"id":"there","name":"Here"}}`
	for _, c := range []struct {
		domain string
		want   map[string]string
	}{
		{`,"domain":{"name":"Here"}`, map[string]string{"plain": "Here", "ours": "Here"}},
		{``, map[string]string{"devs": "There", "ours": "Here", "tricky": "Here"}},
	} {
		r, err := Parse([]byte(`[{"local":[{"user":{"name":"{0}"}},{"groups":"{1}"` + c.domain + `}],"remote":[{"type":"openstack_user"},{"type":"openstack-groups"}]}]`))
		if err != nil {
			t.Fatal(err)
		}
		res, ok := r.Apply(map[string]string{"OPENSTACK_USER": "ann", "OPENSTACK_GROUPS": text})
		for _, g := range res.Groups {
			switch {
			case g.Domain == nil: // nobody's group
			case c.want[g.Name] == g.Domain.Name:
				delete(c.want, g.Name)
			default:
				t.Errorf("%s: group %s of %+v", c.domain, g.Name, g.Domain)
			}
		}
		if !ok || res.User.Name != "ann" || len(c.want) > 0 {
			t.Errorf("%s: %v %+v, missing %v", c.domain, ok, res, c.want)
		}
	}
}
