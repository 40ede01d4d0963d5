package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db/dbtest"
)

// TestContract validates answers against the published OpenAPI document, where
// it lies beside the repository.
func TestContract(t *testing.T) {
	file := filepath.Join("..", "..", "..", "shared", "specs", "image-v2.yaml")
	if _, err := os.Stat(file); err != nil {
		t.Skip("no specification beside the repository")
	}
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t, dbtest.New(t), nil)
	id := uuid.NewString()
	s.want(201, "alice", "POST", "/v2/images", object{"id": id, "name": "n", "disk_format": "raw", "container_format": "bare", "tags": []string{"x"}, "os_distro": "debian"})
	s.want(204, "alice", "PUT", "/v2/images/"+id+"/file", bytes.NewReader(random(1000)))
	s.want(200, "alice", "POST", "/v2/images/"+id+"/members", object{"member": projectB})
	for path, pattern := range map[string]string{
		"/v2/images": "/v2/images", "/v2/images/" + id: "/v2/images/{image_id}", "/v2/images/" + id + "/members": "/v2/images/{image_id}/members",
		"/v2/images/" + id + "/members/" + projectB: "/v2/images/{image_id}/members/{member_id}", "/v2/images/" + id + "/tasks": "/v2/images/{image_id}/tasks",
		// The document is wrong about the schemas (a string) and about
		// stores and usage, which Glance answers as this service does.
		"/v2/info/import": "/v2/info/import", "/v2/tasks": "/v2/tasks",
	} {
		item := spec.Paths.Value(pattern)
		if item == nil || item.Get == nil {
			t.Errorf("the specification has no GET %s", pattern)
			continue
		}
		ok := item.Get.Responses.Value("200")
		if ok == nil || ok.Value.Content.Get("application/json") == nil || ok.Value.Content.Get("application/json").Schema == nil {
			continue
		}
		res := s.do("admin", "GET", path, nil)
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			t.Errorf("GET %s: %d, %v", path, res.StatusCode, err)
			continue
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if err := ok.Value.Content.Get("application/json").Schema.Value.VisitJSON(doc); err != nil {
			why, _, _ := strings.Cut(err.Error(), "\nSchema:")
			t.Errorf("GET %s: %s", path, why)
		}
	}
}
