package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db/dbtest"
)

// mine makes one of everything that a project owns; it returns the server, the
// group and the ID of the first port.
func mine(t *testing.T, c *computetest.Cloud) (server, group, port string) {
	t.Helper()
	c.Flavor()
	server = c.Boot("mine", m{"metadata": m{"k": "v"}, "networks": []m{{"uuid": computetest.NetworkID}}})
	c.Status(server, "ACTIVE")
	c.Must(200, computetest.Member, "2.26", "PUT", "/v2.1/servers/"+server+"/tags", m{"tags": []string{"t"}})
	c.Must(200, computetest.Member, "", "POST", "/v2.1/os-keypairs", m{"keypair": m{"name": "k", "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB2ZmJ2kS2hEMPNqJlrQn0yYq5sTcEz0yyc4YpUmo8H2 me"}})
	group = c.Must(200, computetest.Member, "2.64", "POST", "/v2.1/os-server-groups", m{"server_group": m{"name": "g", "policy": "affinity"}}).Get("server_group", "id").(string)
	list := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/"+server+"/os-interface", nil).Get("interfaceAttachments").([]any)
	return server, group, list[0].(m)["port_id"].(string)
}

// TestThreat32OthersReachNothing walks the routes of the table that name an
// object of a project: to a member of another project there is no such thing,
// whatever project the query or the body claims (CVE-2026-42999). A reader of
// the own project changes nothing.
func TestThreat32OthersReachNothing(t *testing.T) {
	c := computetest.New(t, computetest.Options{DB: dbtest.New(t)})
	server, group, port := mine(t, c)
	fill := strings.NewReplacer("{id}", server, "{group}", group, "{port}", port, "{item}", "k", "{tag}", "t", "{network}", "net", "{request}", "req-1", "{name}", "k")
	walked := 0
	for _, r := range c.API.Routes() {
		if !strings.HasPrefix(r.Path, "/v2.1/servers/{id}") && !strings.HasPrefix(r.Path, "/v2.1/os-server-groups/{group}") && !strings.HasPrefix(r.Path, "/v2.1/os-keypairs/{name}") {
			continue
		}
		walked++
		path, action, isAction := strings.Cut(fill.Replace(r.Path), "#")
		body := any(nil)
		if isAction {
			body = m{action: nil}
		}
		for _, claim := range []string{"", "?project_id=" + computetest.Other + "&tenant_id=" + computetest.Other} {
			a := c.Call(computetest.Foreign, "2.64", r.Method, path+claim, body)
			if a.Code < 400 || a.Code >= 500 || a.Code == http.StatusConflict || strings.Contains(a.Text, "mine") {
				t.Errorf("%s %s of another project: %d %s", r.Method, r.Path+claim, a.Code, a.Text)
			}
		}
		if r.Method == http.MethodGet || strings.Contains(path, "os-keypairs") {
			continue // a key pair is its user's, and readers have their own
		}
		if a := c.Call(computetest.Reader, "2.64", r.Method, path, body); a.Code < 400 || a.Code >= 500 {
			t.Errorf("%s %s by a reader: %d %s", r.Method, r.Path, a.Code, a.Text)
		}
	}
	if walked < 30 {
		t.Errorf("only %d routes name an object", walked)
	}
	for _, path := range []string{"/v2.1/servers/detail", "/v2.1/servers/detail?project_id=" + computetest.Project, "/v2.1/os-server-groups", "/v2.1/os-keypairs"} {
		if a := c.Must(200, computetest.Foreign, "", "GET", path, nil); strings.Contains(a.Text, server) || strings.Contains(a.Text, group) || strings.Contains(a.Text, `"k"`) {
			t.Errorf("%s shows another project %s", path, a.Text)
		}
	}
	c.Must(403, computetest.Foreign, "", "GET", "/v2.1/servers?all_tenants=1", nil)
	if s := c.Status(server, "ACTIVE"); s.Get("server", "name") != "mine" {
		t.Errorf("the server is now %s", s.Text)
	}
}

// TestThreat43OutsidersSendNoEvents keeps the events that other services send
// to themselves: a user who could would make a server wait, or skip, its wiring
// (the like of CVE-2015-5240).
func TestThreat43OutsidersSendNoEvents(t *testing.T) {
	c := computetest.New(t, computetest.Options{DB: dbtest.New(t)})
	server, _, port := mine(t, c)
	for _, token := range []string{computetest.Member, computetest.Reader, computetest.Foreign} {
		c.Must(403, token, "", "POST", "/v2.1/os-server-external-events", m{"events": []m{{"name": "network-vif-unplugged", "server_uuid": server, "tag": port}}})
	}
}
