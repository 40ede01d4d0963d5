package metadata_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/compute/metadata"
	"github.com/tropocloud/tropo/db/dbtest"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB2ZmJ2kS2hEMPNqJlrQn0yYq5sTcEz0yyc4YpUmo8H2 me"

// TestGuestReadsItself covers the documents and threat 25: only the proxy's
// signed headers name a guest.
func TestGuestReadsItself(t *testing.T) {
	c := computetest.New(t, computetest.Options{DB: dbtest.New(t)})
	c.Flavor()
	c.Must(200, computetest.Member, "", "POST", "/v2.1/os-keypairs", map[string]any{"keypair": map[string]any{"name": "k", "public_key": key}})
	id := c.Boot("My Server", map[string]any{"key_name": "k", "user_data": base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")), "metadata": map[string]any{"role": "web"}})
	c.Status(id, "ACTIVE")
	h := metadata.New(c.Manager, "secret", nil)
	get := func(path string, header map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "http://169.254.169.254"+path, nil)
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	good := map[string]string{"X-Instance-ID": id, "X-Tenant-ID": computetest.Project, "X-Instance-ID-Signature": metadata.Sign("secret", id)}
	for path, want := range map[string]string{
		"/": "openstack", "/openstack": "2018-08-27", "/openstack/latest": "user_data", "/openstack/latest/user_data": "#!/bin/sh\n",
		"/openstack/latest/meta_data.json": `"hostname":"my-server.novalocal"`, "/openstack/2018-08-27/meta_data.json": key, "/openstack/latest/network_data.json": `"ipv4_dhcp"`,
		"/openstack/latest/vendor_data.json": "{}", "/openstack/latest/vendor_data2.json": "static", "/latest/meta-data/": "public-keys/", "/2009-04-04/meta-data/instance-type": "m1.tiny",
		"/latest/meta-data/public-keys": "0=k", "/latest/meta-data/public-keys/0/openssh-key": key, "/latest/meta-data/local-ipv4": "10.0.", "/latest/user-data": "#!/bin/sh\n",
		"/latest/meta-data/placement/availability-zone": "nova", "/latest": "meta-data/",
	} {
		w := get(path, good)
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %q does not hold %q", path, w.Code, w.Body.String(), want)
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(get("/openstack/latest/meta_data.json", good).Body.Bytes(), &doc); err != nil || doc["uuid"] != id || doc["meta"].(map[string]any)["role"] != "web" {
		t.Errorf("meta_data.json: %v %v", doc, err)
	}
	there := ""
	if s, err := c.Manager.FindServer(t.Context(), id); err != nil {
		t.Fatal(err)
	} else {
		there = s.Host
	}
	ofNode := func(node string) map[string]string {
		return map[string]string{"X-Tropo-Node": node, "X-Instance-ID-Signature": metadata.Sign(metadata.NodeSecret("secret", node), id)}
	}
	for name, tt := range map[string]struct {
		change map[string]string
		path   string
		code   int
	}{
		"no headers":          {map[string]string{"X-Instance-ID": ""}, "/openstack/latest/meta_data.json", 400},
		"forged signature":    {map[string]string{"X-Instance-ID-Signature": metadata.Sign("guess", id)}, "/openstack/latest/meta_data.json", 403},
		"no signature":        {map[string]string{"X-Instance-ID-Signature": ""}, "/openstack/latest/meta_data.json", 403},
		"another project":     {map[string]string{"X-Tenant-ID": computetest.Other}, "/openstack/latest/meta_data.json", 404},
		"its node":            {ofNode(there), "/openstack/latest/meta_data.json", 200},
		"another node":        {ofNode("elsewhere"), "/openstack/latest/meta_data.json", 404},
		"a node as another":   {map[string]string{"X-Tropo-Node": there, "X-Instance-ID-Signature": metadata.Sign(metadata.NodeSecret("secret", "elsewhere"), id)}, "/openstack/latest/meta_data.json", 403},
		"a node as all":       {map[string]string{"X-Instance-ID-Signature": metadata.Sign(metadata.NodeSecret("secret", "elsewhere"), id)}, "/openstack/latest/meta_data.json", 403},
		"no such document":    {nil, "/openstack/latest/passwd", 404},
		"no such version":     {nil, "/openstack/1999-01-01/meta_data.json", 404},
		"forwarded for alone": {map[string]string{"X-Instance-ID": "", "X-Forwarded-For": "10.0.0.2"}, "/latest/meta-data/", 400},
	} {
		header := map[string]string{}
		for k, v := range good {
			header[k] = v
		}
		for k, v := range tt.change {
			header[k] = v
		}
		if w := get(tt.path, header); w.Code != tt.code {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, tt.code, w.Body)
		}
	}
}
