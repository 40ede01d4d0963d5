package api

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/network/driver"
)

func names(items []map[string]any) string {
	var l []string
	for _, i := range items {
		l = append(l, fmt.Sprint(i["name"]))
	}
	return strings.Join(l, "")
}

// TestPagesLeadToEachOther walks a list forwards and back by its links.
func TestPagesLeadToEachOther(t *testing.T) {
	s := newService(t)
	for _, n := range []string{"c", "a", "e", "b", "d"} {
		s.make("member", "networks", `{"network":{"name":"`+n+`"}}`)
	}
	at, walked := "/v2.0/networks?sort_key=name&limit=2", ""
	var last map[string]any
	for at != "" {
		code, doc := s.do("member", "GET", at, "")
		if code != 200 {
			t.Fatal(code, doc)
		}
		var page []map[string]any
		for _, x := range doc["networks"].([]any) {
			page = append(page, x.(map[string]any))
		}
		walked += names(page) + "|"
		last, at = doc, link(t, doc, "next")
	}
	if walked != "ab|cd|e|" {
		t.Errorf("walked %q", walked)
	}
	_, back := s.do("member", "GET", link(t, last, "previous"), "")
	var page []map[string]any
	for _, x := range back["networks"].([]any) {
		page = append(page, x.(map[string]any))
	}
	if names(page) != "cd" {
		t.Errorf("before the last page stands %q", names(page))
	}
	s.refused(400, "", "member", "GET", "/v2.0/networks?sort_key=colour", "")
	s.refused(400, "", "member", "GET", "/v2.0/networks?limit=-1", "")
	s.refused(400, "", "member", "GET", "/v2.0/networks?sort_key=name&sort_dir=up", "")
	if n := len(s.items("member", "/v2.0/networks?limit=0")); n != 5 {
		t.Errorf("limit 0 gives %d", n)
	}
}

func link(t *testing.T, doc map[string]any, rel string) string {
	t.Helper()
	links, _ := doc["networks_links"].([]any)
	for _, l := range links {
		m, _ := l.(map[string]any)
		if m["rel"] == rel {
			u, err := url.Parse(fmt.Sprint(m["href"]))
			if err != nil {
				t.Fatal(err)
			}
			return u.RequestURI()
		}
	}
	return ""
}

func fixed(p map[string]any) string {
	var l []string
	for _, x := range p["fixed_ips"].([]any) {
		m, _ := x.(map[string]any)
		l = append(l, fmt.Sprint(m["ip_address"]))
	}
	return strings.Join(l, " ")
}

// TestFixedIPsChange keeps what fits, in the order asked for.
func TestFixedIPsChange(t *testing.T) {
	s := newService(t)
	net := s.make("member", "networks", `{"network":{}}`)
	a := s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	b := s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.1.0/24"}}`)
	port := s.make("member", "ports", `{"port":{"network_id":"`+net+`","fixed_ips":[{"ip_address":"10.0.0.50"}]}}`)
	set := func(ips string) string {
		return fixed(s.want(200, "member", "PUT", "/v2.0/ports/"+port, `{"port":{"fixed_ips":`+ips+`}}`))
	}
	if got := set(`[{"subnet_id":"` + a + `"}]`); got != "10.0.0.50" {
		t.Errorf("any address of the subnet: %s", got)
	}
	if got := set(`[{"ip_address":"10.0.1.7"},{"subnet_id":"` + a + `"}]`); got != "10.0.1.7 10.0.0.50" {
		t.Errorf("one more before it: %s", got)
	}
	if got := set(`[{"subnet_id":"` + b + `"}]`); got != "10.0.1.7" {
		t.Errorf("only the other: %s", got)
	}
	if got := set(`[{"ip_address":"10.0.1.8"}]`); got != "10.0.1.8" {
		t.Errorf("another: %s", got)
	}
	if got := set(`[]`); got != "" {
		t.Errorf("none: %s", got)
	}
	s.make("member", "ports", `{"port":{"network_id":"`+net+`","fixed_ips":[{"ip_address":"10.0.1.8"}]}}`)
}

// TestServicePortTakesFirstAddress: the metadata port has the first address of
// the first pool that is free, so the rest of a new subnet is the user's.
func TestServicePortTakesFirstAddress(t *testing.T) {
	for subnet, want := range map[string]string{
		`"cidr":"10.0.0.0/24"`:                           "10.0.0.2",
		`"cidr":"10.0.0.0/24","gateway_ip":"10.0.0.254"`: "10.0.0.1",
		`"cidr":"10.0.0.0/24","allocation_pools":[{"start":"10.0.0.100","end":"10.0.0.101"}]`:                           "10.0.0.100",
		`"cidr":"10.0.0.0/24","gateway_ip":"10.0.0.100","allocation_pools":[{"start":"10.0.0.101","end":"10.0.0.101"}]`: "10.0.0.101",
	} {
		s := newService(t)
		net := s.make("member", "networks", `{"network":{}}`)
		s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,`+subnet+`}}`)
		ports := s.items("admin", "/v2.0/ports?device_owner=network:distributed&network_id="+net)
		if len(ports) != 1 || fixed(ports[0]) != want {
			t.Errorf("%s: %v, want %s", subnet, ports, want)
		}
	}
}

// TestFloatingIPFollowsItsPort leads nowhere when the address or port goes.
func TestFloatingIPFollowsItsPort(t *testing.T) {
	s := newService(t)
	w := s.world()
	s.want(200, "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"fixed_ips":[{"ip_address":"10.0.0.222"}]}}`)
	if f := s.want(200, "member", "GET", "/v2.0/floatingips/"+w.fip, ""); f["port_id"] != nil || f["status"] != "DOWN" {
		t.Errorf("after its address went: %v", f)
	}
	s.want(200, "member", "PUT", "/v2.0/floatingips/"+w.fip, `{"floatingip":{"port_id":"`+w.port+`"}}`)
	s.settle()
	object := driver.Object{Kind: driver.ObjectFloatingIP, ID: w.fip}
	if s.driver.Object(object) == nil {
		t.Error("not in the dataplane")
	}
	s.want(204, "member", "DELETE", "/v2.0/ports/"+w.port, "")
	s.settle()
	if f := s.want(200, "member", "GET", "/v2.0/floatingips/"+w.fip, ""); f["port_id"] != nil || f["router_id"] != nil || s.driver.Object(object) != nil {
		t.Errorf("after its port went: %v", f)
	}
	s.want(204, "admin", "DELETE", "/v2.0/floatingips/"+w.fip, "")
}

// TestBulkIsAllOrNothing makes nothing when one object can't be made.
func TestBulkIsAllOrNothing(t *testing.T) {
	s := newService(t)
	net := s.make("member", "networks", `{"network":{}}`)
	s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24","enable_dhcp":false}}`)
	s.refused(409, "IpAddressAlreadyAllocated", "member", "POST", "/v2.0/ports", `{"ports":[{"network_id":"`+net+`","fixed_ips":[{"ip_address":"10.0.0.9"}]},{"network_id":"`+net+`","fixed_ips":[{"ip_address":"10.0.0.9"}]}]}`)
	if n := len(s.items("member", "/v2.0/ports")); n != 0 {
		t.Errorf("%d ports", n)
	}
	s.refused(403, "", "member", "POST", "/v2.0/networks", `{"networks":[{},{"shared":true}]}`)
	if n := len(s.items("member", "/v2.0/networks")); n != 1 {
		t.Errorf("%d networks", n)
	}
}

// TestRevisions refuses changes of what has changed meanwhile.
func TestRevisions(t *testing.T) {
	s := newService(t)
	net := s.make("member", "networks", `{"network":{}}`)
	s.refused(412, "RevisionNumberConstraintFailed", "member", "DELETE", "revision_number=7 /v2.0/networks/"+net, "")
	s.refused(400, "HTTPBadRequest", "member", "PUT", "etag /v2.0/networks/"+net, `{"network":{}}`)
	n := s.want(200, "member", "PUT", "revision_number=1 /v2.0/networks/"+net, `{"network":{"name":"x"}}`)
	if n["revision_number"] != 2.0 {
		t.Errorf("revision %v", n["revision_number"])
	}
	s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	if n := s.want(200, "member", "GET", "/v2.0/networks/"+net, ""); n["revision_number"] != 3.0 {
		t.Errorf("a new subnet counts its network's revision to %v", n["revision_number"])
	}
	s.want(204, "member", "DELETE", "revision_number=3 /v2.0/networks/"+net, "")
}

// TestInUse keeps what others depend on.
func TestInUse(t *testing.T) {
	s := newService(t)
	w := s.world()
	s.refused(409, "ExternalNetworkInUse", "admin", "PUT", "/v2.0/networks/"+w.ext, `{"network":{"router:external":false}}`)
	s.refused(409, "SecurityGroupInUse", "member", "DELETE", "/v2.0/security-groups/"+w.group, "")
	s.refused(409, "SecurityGroupInUse", "member", "PUT", "/v2.0/security-groups/"+w.group, `{"security_group":{"stateful":false}}`)
	s.refused(409, "GatewayIpInUse", "member", "PUT", "/v2.0/subnets/"+w.sub, `{"subnet":{"gateway_ip":"10.0.0.254","allocation_pools":[{"start":"10.0.0.2","end":"10.0.0.200"}]}}`)
	s.want(200, "admin", "PUT", "/v2.0/networks/"+w.net, `{"network":{"shared":true}}`)
	p := s.make("other", "ports", `{"port":{"network_id":"`+w.net+`"}}`)
	s.refused(409, "InvalidSharedSetting", "admin", "PUT", "/v2.0/networks/"+w.net, `{"network":{"shared":false}}`)
	s.refused(403, "", "other", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.net+`","fixed_ips":[{"ip_address":"10.0.0.99"}]}}`)
	s.want(204, "other", "DELETE", "/v2.0/ports/"+p, "")
	s.want(200, "admin", "PUT", "/v2.0/networks/"+w.net, `{"network":{"shared":false}}`)
	defaults := s.items("member", "/v2.0/security-groups?name=default")
	s.refused(409, "SecurityGroupCannotRemoveDefault", "member", "DELETE", "/v2.0/security-groups/"+fmt.Sprint(defaults[0]["id"]), "")
}

// TestRemoteGroupGoesWithItsRules deletes a group that others name as a peer.
func TestRemoteGroupGoesWithItsRules(t *testing.T) {
	s := newService(t)
	w := s.world()
	peer := s.make("member", "security-groups", `{"security_group":{"name":"peer"}}`)
	s.make("member", "security-group-rules", `{"security_group_rule":{"security_group_id":"`+w.group+`","direction":"ingress","remote_group_id":"`+peer+`"}}`)
	s.want(204, "member", "DELETE", "/v2.0/security-groups/"+peer, "")
	if n := len(s.items("member", "/v2.0/security-group-rules?security_group_id="+w.group)); n != 2 {
		t.Errorf("%d rules left", n)
	}
	s.settle()
	g, _ := s.driver.Object(driver.Object{Kind: driver.ObjectSecurityGroup, ID: w.group}).(driver.SecurityGroup)
	if len(g.Rules) != 2 {
		t.Errorf("the dataplane has %d rules", len(g.Rules))
	}
}

// TestDefaultGroupIsMadeOnce touches a new project from many sides at once.
func TestDefaultGroupIsMadeOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServiceOn(t, d)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				code, doc := 0, map[string]any(nil)
				if i%2 == 0 {
					code, doc = s.do("other", "GET", "/v2.0/security-groups", "")
				} else {
					code, doc = s.do("other", "POST", "/v2.0/security-groups", `{"security_group":{"name":"g"}}`)
				}
				if code >= 300 {
					t.Errorf("%d %v", code, doc)
				}
			})
		}
		wg.Wait()
		if n := len(s.items("other", "/v2.0/security-groups?name=default")); n != 1 {
			t.Errorf("%d default groups", n)
		}
	})
}

// TestReadersOnlyRead tries every operation that changes something as a reader.
func TestReadersOnlyRead(t *testing.T) {
	s := newService(t)
	w := s.world()
	ids := map[string]string{"networks": w.net, "subnets": w.sub, "ports": w.port, "routers": w.router, "floatingips": w.fip, "security-groups": w.group}
	for path, id := range ids {
		name := strings.ReplaceAll(strings.TrimSuffix(path, "s"), "-", "_")
		s.want(200, "reader", "GET", "/v2.0/"+path+"/"+id, "")
		s.refused(403, "", "reader", "PUT", "/v2.0/"+path+"/"+id, `{"`+name+`":{}}`)
		s.refused(403, "", "reader", "DELETE", "/v2.0/"+path+"/"+id, "")
	}
	for path, body := range map[string]string{
		"networks": `{"network":{}}`, "ports": `{"port":{"network_id":"` + w.net + `"}}`, "routers": `{"router":{}}`, "security-groups": `{"security_group":{}}`,
		"subnets":     `{"subnet":{"network_id":"` + w.net + `","ip_version":4,"cidr":"10.7.0.0/24"}}`,
		"floatingips": `{"floatingip":{"floating_network_id":"` + w.ext + `"}}`, "subnetpools": `{"subnetpool":{"prefixes":["10.0.0.0/8"]}}`,
	} {
		s.refused(403, "", "reader", "POST", "/v2.0/"+path, body)
	}
	s.refused(403, "", "reader", "PUT", "/v2.0/routers/"+w.router+"/add_router_interface", `{"subnet_id":"`+w.sub+`"}`)
}

// TestHiddenAttributesDoNotLeak : what a caller may not see can't be guessed
// by filters or order either.
func TestHiddenAttributesDoNotLeak(t *testing.T) {
	s := newService(t)
	w := s.world()
	s.want(200, "service", "PUT", "/v2.0/ports/"+w.port, `{"port":{"binding:host_id":"host1","device_id":"vm","device_owner":"compute:nova"}}`)
	if n := len(s.items("service", "/v2.0/ports?binding:host_id=host1")); n != 1 {
		t.Errorf("a service finds %d ports on the host", n)
	}
	for _, q := range []string{"ports?binding:host_id=host1", "ports?sort_key=binding:host_id", "networks?provider:segmentation_id=1", "networks?sort_key=provider:segmentation_id"} {
		s.refused(403, "", "member", "GET", "/v2.0/"+q, "")
	}
	p := s.want(200, "member", "GET", "/v2.0/ports/"+w.port, "")
	for _, hidden := range []string{"binding:host_id", "binding:profile", "binding:vif_type", "binding:vif_details"} {
		if _, there := p[hidden]; there {
			t.Errorf("a member sees %s", hidden)
		}
	}
}
