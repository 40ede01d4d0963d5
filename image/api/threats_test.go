package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
)

// Threat 32: CVE-2026-42999, whoever claims to be the owner in the query or
// the body is none: a private image is nowhere to be found in another project.
func TestThreat32OthersReachNothing(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	id, _ := s.want(201, "alice", "POST", "/v2/images", object{"name": "mine", "disk_format": "raw", "container_format": "bare"})["id"].(string)
	claim := object{"owner": projectB, "project_id": projectB, "tenant_id": projectB}
	for _, r := range []struct {
		method, path string
		body         any
	}{
		{http.MethodGet, "", nil},
		{http.MethodDelete, "", claim},
		{http.MethodGet, "/file", nil},
		{http.MethodPut, "/tags/x", nil},
		{http.MethodDelete, "/tags/x", nil},
		{http.MethodGet, "/members", nil},
		{http.MethodPost, "/members", object{"member": projectB}},
		{http.MethodPut, "/members/" + projectB, object{"status": "accepted"}},
		{http.MethodPost, "/actions/deactivate", nil},
		{http.MethodPost, "/actions/reactivate", nil},
	} {
		for _, query := range []string{"", "?owner=" + projectB + "&project_id=" + projectB} {
			res := s.do("bob", r.method, "/v2/images/"+id+r.path+query, r.body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusForbidden {
				t.Errorf("%s %s: %d", r.method, r.path+query, res.StatusCode)
			}
		}
	}
	if got := s.names("bob", "/v2/images?owner="+projectA+"&visibility=all"); got != "" {
		t.Errorf("the list shows %q", got)
	}
	if got := s.want(200, "alice", "GET", "/v2/images/"+id, nil); got["name"] != "mine" || got["status"] != "queued" {
		t.Errorf("the image is now %v", got)
	}
}

// TestANodeIsNoAdmin: the user of a node reads any image and fills what a
// snapshot makes, and does nothing else, so that a machine that runs guests
// cannot change the images of others.
func TestANodeIsNoAdmin(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	id, _ := s.want(201, "alice", "POST", "/v2/images", object{"name": "mine", "disk_format": "raw", "container_format": "bare"})["id"].(string)
	at := "/v2/images/" + id
	patch := func(path, value string) *http.Response {
		return s.do("node", http.MethodPatch, at, []object{{"op": "replace", "path": path, "value": value}},
			"Content-Type", "application/openstack-images-v2.1-json-patch")
	}
	for what, c := range map[string]struct {
		res  *http.Response
		want int
	}{
		"name":       {patch("/name", "other"), 403},
		"visibility": {patch("/visibility", "public"), 403},
		"owner":      {patch("/owner", projectB), 403},
		"format":     {patch("/disk_format", "raw"), 200},
		"data":       {s.do("node", http.MethodPut, at+"/file", strings.NewReader("data")), 204},
		"show":       {s.do("node", http.MethodGet, at, nil), 200},
		"read":       {s.do("node", http.MethodGet, at+"/file", nil), 0}, // queued, or there
		"stage":      {s.do("node", http.MethodPut, at+"/stage", strings.NewReader("x")), 403},
		"import":     {s.do("node", http.MethodPost, at+"/import", object{"method": object{"name": "glance-direct"}}), 403},
		"tag":        {s.do("node", http.MethodPut, at+"/tags/x", nil), 403},
		"delete":     {s.do("node", http.MethodDelete, at, nil), 403},
		"deactivate": {s.do("node", http.MethodPost, at+"/actions/deactivate", nil), 403},
		"member":     {s.do("node", http.MethodPost, at+"/members", object{"member": projectB}), 403},
		"copies":     {s.do("node", http.MethodGet, "/v2/tropo-data/"+id, nil), 403},
		"list":       {s.do("node", http.MethodGet, "/v2/images", nil), 403},
	} {
		_ = c.res.Body.Close()
		if c.res.StatusCode != c.want && c.want != 0 {
			t.Errorf("%s: %d; want %d", what, c.res.StatusCode, c.want)
		}
	}
}
