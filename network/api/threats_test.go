package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestThreat32 : a member of another project finds nothing of this one, what
// project ever the query or the body claims (CVE-2026-42999), and its lists
// hold none of it.
func TestThreat32(t *testing.T) {
	s := newService(t)
	w := s.world()
	claim := `"project_id":"` + project("p2") + `","tenant_id":"` + project("p2") + `"`
	query := "?project_id=" + project("p2") + "&tenant_id=" + project("p2")
	for _, o := range []struct{ path, key, id string }{
		{"networks", "network", w.net},
		{"subnets", "subnet", w.sub},
		{"ports", "port", w.port},
		{"routers", "router", w.router},
		{"security-groups", "security_group", w.group},
		{"floatingips", "floatingip", w.fip},
	} {
		one := "/v2.0/" + o.path + "/" + o.id
		for _, r := range []struct{ method, path, body string }{
			{http.MethodGet, one, ""},
			{http.MethodGet, one + query, ""},
			{http.MethodPut, one, `{"` + o.key + `":{"description":"theirs"}}`},
			{http.MethodPut, one + query, `{"` + o.key + `":{"description":"theirs",` + claim + `}}`},
			{http.MethodDelete, one, ""},
			{http.MethodDelete, one + query, `{"` + o.key + `":{` + claim + `}}`},
			{http.MethodGet, one + "/tags", ""},
			{http.MethodPut, one + "/tags", `{"tags":["x"]}`},
			{http.MethodDelete, one + "/tags", ""},
		} {
			if code, doc := s.do("other", r.method, r.path, r.body); code < 400 || code >= 500 {
				t.Errorf("%s %s: %d %v", r.method, r.path, code, doc)
			}
		}
		for _, q := range []string{"", "?project_id=" + project("p1"), "?tenant_id=" + project("p1"), "?id=" + o.id} {
			code, doc := s.do("other", http.MethodGet, "/v2.0/"+o.path+q, "")
			if text, _ := json.Marshal(doc); code != 200 || strings.Contains(string(text), o.id) {
				t.Errorf("list %s%s: %d %s", o.path, q, code, text)
			}
		}
		if code, _ := s.do("member", http.MethodGet, one, ""); code != 200 {
			t.Errorf("%s is gone: %d", o.path, code)
		}
		for _, key := range []string{"project_id", "tenant_id"} { // nor may it give others anything
			s.refused(400, "", "other", http.MethodPost, "/v2.0/security-groups", `{"security_group":{"name":"x","`+key+`":"`+project("p1")+`"}}`)
		}
	}
}
