package api

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/tropocloud/tropo/network/driver"
)

// TestStory goes the way of a project's first guest: network, subnet, router,
// port, floating IP, and back to nothing.
func TestStory(t *testing.T) {
	s := newService(t)
	ext := s.make("admin", "networks", `{"network":{"name":"public","router:external":true}}`)
	s.make("admin", "subnets", `{"subnet":{"network_id":"`+ext+`","ip_version":4,"cidr":"203.0.113.0/24","gateway_ip":"203.0.113.1","enable_dhcp":false}}`)
	n := s.want(http.StatusCreated, "member", "POST", "/v2.0/networks", `{"network":{"name":"n"}}`)
	if n["status"] != "ACTIVE" || n["mtu"] != 1442.0 || n["provider:network_type"] != nil {
		t.Errorf("network %v", n)
	}
	net, _ := n["id"].(string)
	sub := s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	router := s.make("member", "routers", `{"router":{"name":"r","external_gateway_info":{"network_id":"`+ext+`"}}}`)
	s.want(http.StatusOK, "member", "PUT", "/v2.0/routers/"+router+"/add_router_interface", `{"subnet_id":"`+sub+`"}`)
	p := s.want(http.StatusCreated, "member", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`"}}`)
	port, _ := p["id"].(string)
	if len(p["security_groups"].([]any)) != 1 || len(p["fixed_ips"].([]any)) != 1 {
		t.Errorf("port %v", p)
	}
	fip := s.want(http.StatusCreated, "member", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"`+ext+`","port_id":"`+port+`"}}`)
	if fip["status"] != "ACTIVE" || fip["router_id"] != router {
		t.Errorf("floating ip %v", fip)
	}
	s.settle()
	drift, err := s.agent.Sync(context.Background())
	if err != nil || len(drift.Healed)+len(drift.Deleted) != 0 {
		t.Errorf("after all marks are done: %v %v", drift, err)
	}
	if f, ok := s.driver.Object(driver.Object{Kind: driver.ObjectFloatingIP, ID: fmt.Sprint(fip["id"])}).(driver.FloatingIP); !ok || f.RouterID != router {
		t.Errorf("dataplane has %+v", f)
	}
	up := s.want(http.StatusOK, "service", "PUT", "/v2.0/ports/"+port, `{"port":{"binding:host_id":"host1","device_id":"vm","device_owner":"compute:nova"}}`)
	if up["binding:vif_type"] != "ovs" || up["status"] != "DOWN" {
		t.Errorf("bound port %v", up)
	}
	if err := s.m.PortUp(context.Background(), port, true); err != nil {
		t.Fatal(err)
	}
	if p := s.want(http.StatusOK, "member", "GET", "/v2.0/ports/"+port, ""); p["status"] != "ACTIVE" {
		t.Errorf("port %v", p)
	}
	s.refused(409, "RouterInterfaceInUseByFloatingIP", "member", "PUT", "/v2.0/routers/"+router+"/remove_router_interface", `{"subnet_id":"`+sub+`"}`)
	s.refused(409, "RouterInUse", "member", "DELETE", "/v2.0/routers/"+router, "")
	s.refused(409, "RouterExternalGatewayInUseByFloatingIp", "member", "PUT", "/v2.0/routers/"+router, `{"router":{"external_gateway_info":null}}`)
	s.refused(409, "SubnetInUse", "member", "DELETE", "/v2.0/subnets/"+sub, "")
	s.refused(409, "NetworkInUse", "member", "DELETE", "/v2.0/networks/"+net, "")
	s.want(204, "member", "DELETE", "/v2.0/floatingips/"+fmt.Sprint(fip["id"]), "")
	s.want(200, "member", "PUT", "/v2.0/routers/"+router, `{"router":{"external_gateway_info":{}}}`)
	s.want(200, "member", "PUT", "/v2.0/routers/"+router+"/remove_router_interface", `{"subnet_id":"`+sub+`"}`)
	s.want(204, "member", "DELETE", "/v2.0/routers/"+router, "")
	s.want(204, "member", "DELETE", "/v2.0/ports/"+port, "")
	s.want(204, "member", "DELETE", "/v2.0/networks/"+net, "")
	s.want(204, "admin", "DELETE", "/v2.0/networks/"+ext, "")
	for _, g := range s.items("admin", "/v2.0/security-groups") {
		s.want(204, "admin", "DELETE", "/v2.0/security-groups/"+fmt.Sprint(g["id"]), "")
	}
	s.settle()
	if left, err := s.driver.Owned(context.Background()); err != nil || len(left) != 0 {
		t.Errorf("left in the dataplane: %v %v", left, err)
	}
	if n, err := s.store.DirtyCount(context.Background()); err != nil || n != 0 {
		t.Errorf("%d marks left", n)
	}
}
