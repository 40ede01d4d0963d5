package manager_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/image"
	imageapi "github.com/tropocloud/tropo/image/api"
	imagedriver "github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/driver/file"
	imagemanager "github.com/tropocloud/tropo/image/manager"
	imagestore "github.com/tropocloud/tropo/image/store"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/task"
)

func imageService(t *testing.T) http.Handler {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, d := t.Context(), dbtest.New(t)
	st, err := imagestore.New(ctx, d)
	must(err)
	engine, err := task.New(ctx, d, task.Options{Owner: "image"})
	must(err)
	files, err := file.New(t.TempDir())
	must(err)
	var conf image.Config
	must(config.Load(&conf, config.Sources{}))
	m, err := imagemanager.New(ctx, imagemanager.Options{Store: st, Drivers: map[string]imagedriver.Driver{"file": files}, Default: "file", Config: conf, Engine: engine, Host: "control"})
	must(err)
	enforcer, err := policy.NewEnforcer(imageapi.Policy(), policy.Options{})
	must(err)
	api, err := imageapi.New(imageapi.Options{Manager: m, Validator: computetest.Validator{}, Enforcer: enforcer})
	must(err)
	return rest.Mount("/image", api)
}

// TestWithImages boots from, snapshots into and shelves to the real image
// service.
func TestWithImages(t *testing.T) {
	images := imageService(t)
	ask := func(method, path, body, kind string) (int, m) {
		r := httptest.NewRequest(method, "http://cloud/image/v2"+path, strings.NewReader(body))
		r.Header.Set("X-Auth-Token", computetest.Member)
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		images.ServeHTTP(w, r)
		var out m
		_ = json.Unmarshal(w.Body.Bytes(), &out) // some answers have no document
		return w.Code, out
	}
	code, doc := ask("POST", "/images", `{"name": "disk", "disk_format": "raw", "container_format": "bare", "os_distro": "debian"}`, "application/json")
	if code != 201 {
		t.Fatalf("%d %v", code, doc)
	}
	id := doc["id"].(string)
	if code, doc := ask("PUT", "/images/"+id+"/file", string(bytes.Repeat([]byte{0}, 1<<20)), "application/octet-stream"); code != 204 {
		t.Fatalf("%d %v", code, doc)
	}
	peers := computetest.NewPeers()
	peers.Other = func(r *http.Request) http.Handler {
		if strings.HasPrefix(r.URL.Path, "/image/") {
			return images
		}
		return nil
	}
	c := cloud(t, computetest.Options{Peers: peers, Images: true})
	c.Flavor()
	s := c.Boot("one", m{"imageRef": id})
	c.Status(s, "ACTIVE")
	snap := c.Must(202, computetest.Member, "2.45", "POST", "/v2.1/servers/"+s+"/action", m{"createImage": m{"name": "snap", "metadata": m{"k": "v"}}}).Get("image_id").(string)
	c.Status(s, "ACTIVE")
	if code, doc := ask("GET", "/images/"+snap, "", ""); code != 200 || doc["status"] != "active" || doc["k"] != "v" || doc["os_distro"] != "debian" || doc["owner"] != computetest.Project {
		t.Errorf("the snapshot: %d %v", code, doc)
	}
	for _, step := range []struct{ action, want string }{{"shelve", "SHELVED_OFFLOADED"}, {"unshelve", "ACTIVE"}} {
		c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+s+"/action", m{step.action: nil})
		c.Status(s, step.want)
	}
	c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+s, nil)
	c.Gone(s)
	clean(t, c)
	if _, doc := ask("GET", "/images", "", ""); len(doc["images"].([]any)) != 2 {
		t.Errorf("images left: %v", doc)
	}
}
