package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

func TestMetadefs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newService(t, d, nil)
		const ns = "/v2/metadefs/namespaces/N"
		property := object{"title": "T", "type": "string", "enum": []any{"a<b", "ü"}}
		s.want(201, "admin", "POST", "/v2/metadefs/namespaces", object{
			"namespace": "N", "visibility": "public", "properties": object{"p": property}, "tags": []object{{"name": "t"}},
			"objects":                    []object{{"name": "o", "properties": object{"q": property}}},
			"resource_type_associations": []object{{"name": "OS::New::Type", "prefix": "x_"}},
		})
		got := s.want(200, "bob", "GET", ns, nil)
		if diff := cmp.Diff(got["properties"], any(object{"p": property})); diff != "" {
			t.Error(diff)
		}
		o := s.want(200, "bob", "GET", ns+"/objects/o", nil)
		if diff := cmp.Diff(o["properties"], any(object{"q": property})); diff != "" {
			t.Error(diff)
		}
		types := fmt.Sprint(s.want(200, "bob", "GET", "/v2/metadefs/resource_types", nil))
		if want := "OS::New::Type"; !strings.Contains(types, want) || !strings.Contains(types, "OS::Nova::Flavor") {
			t.Errorf("resource types %s", types)
		}
		s.want(409, "admin", "POST", ns+"/tags/t", nil)
		s.want(201, "admin", "POST", ns+"/tags", object{"tags": []object{{"name": "u"}}}, "X-Openstack-Append", "true")
		if n := len(s.want(200, "bob", "GET", ns+"/tags", nil)["tags"].([]any)); n != 2 {
			t.Errorf("%d tags after appending", n)
		}
		s.want(201, "admin", "POST", ns+"/tags", object{"tags": []object{{"name": "v"}}})
		s.want(409, "admin", "POST", ns+"/tags", object{"tags": []object{{"name": "w"}, {"name": "w"}}})
		if tags := fmt.Sprint(s.want(200, "bob", "GET", ns+"/tags", nil)["tags"]); !strings.Contains(tags, "name:v") {
			t.Errorf("a refused request changed the tags: %s", tags)
		}
		// The name may change; what it held stays.
		s.want(200, "admin", "PUT", ns, object{"namespace": "M", "visibility": "private"})
		s.want(404, "bob", "GET", "/v2/metadefs/namespaces/M/objects", nil)
		s.want(200, "admin", "GET", "/v2/metadefs/namespaces/M/objects/o", nil)
		s.want(204, "admin", "DELETE", "/v2/metadefs/namespaces/M", nil)
		s.want(404, "admin", "GET", "/v2/metadefs/namespaces/M/objects", nil)
	})
}
