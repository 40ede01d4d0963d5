package api_test

import (
	"net/http"
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
