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
	r, err := Parse([]byte(`[{"local":[{"user":{"name":"{0}"}},{"groups":"{1}","domain":{"name":"Here"}}],"remote":[{"type":"openstack_user"},{"type":"openstack-groups"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	res, ok := r.Apply(map[string]string{
		"OPENSTACK_USER":   "ann",
		"OPENSTACK_GROUPS": `plain;JSON:{"name":"devs","domain":{"name":"There"}};JSON:{"name":"without a domain"};JSON:[]`,
	})
	want := map[string]string{"plain": "Here", "devs": "There"}
	for _, g := range res.Groups {
		if g.Domain != nil && want[g.Name] == g.Domain.Name {
			delete(want, g.Name)
		} else if g != (Group{}) {
			t.Errorf("group %+v", g)
		}
	}
	if !ok || res.User.Name != "ann" || len(want) > 0 {
		t.Errorf("%v %+v, missing %v", ok, res, want)
	}
}
