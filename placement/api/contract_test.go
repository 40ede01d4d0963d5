package api_test

import (
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/tropocloud/tropo/db/dbtest"
)

// TestContract looks that every operation of the published API document is
// served. The document has no schemas to check the answers against.
func TestContract(t *testing.T) {
	file := filepath.Join("..", "..", "..", "shared", "specs", "placement-v1.yaml")
	if _, err := os.Stat(file); err != nil {
		t.Skip("the API documents are not beside the repository")
	}
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, r := range service(t, dbtest.New(t)).Routes() {
		have[r.Method+" "+shape(r.Path)] = true
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !have[method+" "+shape(path)] {
				t.Errorf("%s %s is not served", method, path)
			}
		}
	}
}

// shape takes the names of parameters out of a path.
func shape(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = "{}"
		}
	}
	return strings.Join(parts, "/")
}

// FuzzCandidatesQuery sends any query at any version: the answer is 200 or the
// client's fault, never ours.
func FuzzCandidatesQuery(f *testing.F) {
	for _, q := range []string{
		"resources=VCPU:1", "resources=VCPU:1,&required=in:A,B", "resources_A=VCPU:1&required_A=!X&same_subtree=_A&group_policy=none",
		"resources=VCPU:99999999999999999999", "member_of=!in:a,b&resources=VCPU:1", "limit=-1&resources=VCPU:1", "in_tree=%00", "root_required=,&resources1=VCPU:0",
	} {
		f.Add(q, "1.39")
		f.Add(q, "1.10")
	}
	a := service(f, dbtest.New(f))
	f.Fuzz(func(t *testing.T, query, version string) {
		if _, err := url.ParseQuery(query); err != nil {
			t.Skip()
		}
		req := httptest.NewRequest("GET", "/allocation_candidates", nil)
		req.URL.RawQuery = query
		req.Header.Set("X-Auth-Token", "admin")
		req.Header.Set("OpenStack-API-Version", "placement "+version)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, req)
		if !slices.Contains([]int{200, 400, 404, 406}, w.Code) {
			t.Errorf("%q at %q: %d %s", query, version, w.Code, w.Body)
		}
	})
}
