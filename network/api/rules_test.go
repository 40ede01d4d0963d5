package api

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver"
)

// TestAddressesAreGivenOnce asks for all addresses of a small subnet at the
// same time, from every database engine.
func TestAddressesAreGivenOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServiceOn(t, d)
		net := s.make("member", "networks", `{"network":{}}`)
		sub := s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/27","enable_dhcp":false}}`)
		const hosts = 29 // /27 without network, broadcast and gateway
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen, full := map[string]int{}, 0
		for i := range hosts + 5 {
			wg.Go(func() {
				body := `{"port":{"network_id":"` + net + `"}}`
				if i%3 == 0 {
					body = `{"port":{"network_id":"` + net + `","fixed_ips":[{"subnet_id":"` + sub + `"}]}}`
				}
				code, doc := s.do("member", "POST", "/v2.0/ports", body)
				mu.Lock()
				defer mu.Unlock()
				switch code {
				case 201:
					p, _ := doc["port"].(map[string]any)
					ips, _ := p["fixed_ips"].([]any)
					first, _ := ips[0].(map[string]any)
					seen[fmt.Sprint(first["ip_address"])]++
				case 409:
					full++
				default:
					t.Errorf("%d %v", code, doc)
				}
			})
		}
		wg.Wait()
		for a, n := range seen {
			if n > 1 {
				t.Errorf("%s was given %d times", a, n)
			}
		}
		if len(seen) != hosts || full != 5 {
			t.Errorf("%d addresses given, %d refused", len(seen), full)
		}
	})
}

// TestOneAddressOneWinner asks for the same address at the same time.
func TestOneAddressOneWinner(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServiceOn(t, d)
		net := s.make("member", "networks", `{"network":{}}`)
		s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/24"}}`)
		var wg sync.WaitGroup
		var mu sync.Mutex
		codes := map[int]int{}
		for range 8 {
			wg.Go(func() {
				code, _ := s.do("member", "POST", "/v2.0/ports", `{"port":{"network_id":"`+net+`","fixed_ips":[{"ip_address":"10.0.0.77"}]}}`)
				mu.Lock()
				defer mu.Unlock()
				codes[code]++
			})
		}
		wg.Wait()
		if codes[201] != 1 || codes[409] != 7 {
			t.Errorf("answers %v", codes)
		}
	})
}

// TestQuotaHoldsUnderLoad makes more networks at once than are allowed.
func TestQuotaHoldsUnderLoad(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServiceOn(t, d)
		s.want(200, "admin", "PUT", "/v2.0/quotas/"+project("p1"), `{"quota":{"network":3}}`)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { s.do("member", "POST", "/v2.0/networks", `{"network":{}}`) })
		}
		wg.Wait()
		if n := len(s.items("member", "/v2.0/networks")); n != 3 {
			t.Errorf("%d networks with a quota of 3", n)
		}
		s.refused(409, "OverQuota", "member", "POST", "/v2.0/networks", `{"network":{}}`)
	})
}

// TestWholeStoryOnEachDatabase runs the usual objects on every engine.
func TestWholeStoryOnEachDatabase(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServiceOn(t, d)
		w := s.world()
		s.settle()
		if n := len(s.items("member", "/v2.0/ports?tags=x&tags-any=x,y&sort_key=created_at&sort_dir=desc&limit=10")); n != 0 {
			t.Errorf("%d tagged ports", n)
		}
		s.want(200, "member", "PUT", "/v2.0/ports/"+w.port+"/tags", `{"tags":["x","z"]}`)
		for filter, want := range map[string]int{"tags=x": 1, "tags=x,z": 1, "tags=x,y": 0, "tags-any=x,y": 1, "not-tags=x,y&id=" + w.port: 1, "not-tags-any=x": 2, "fixed_ips=ip_address_substr%3D10.0": 3, "admin_state_up=False": 0, "device_owner=network:router_interface": 1} {
			if n := len(s.items("member", "/v2.0/ports?"+filter)); n != want {
				t.Errorf("%s: %d ports, want %d", filter, n, want)
			}
		}
		s.want(200, "admin", "PUT", "/v2.0/subnets/"+w.sub, `{"subnet":{"service_types":["compute:nova"]}}`)
		for value, want := range map[string]int{"compute:nova": 1, "compute": 0, "%25": 0} {
			if n := len(s.items("member", "/v2.0/subnets?service_types="+value)); n != want {
				t.Errorf("service type %s: %d subnets, want %d", value, n, want)
			}
		}
		drift, err := s.agent.Sync(context.Background())
		if err != nil || len(drift.Healed)+len(drift.Deleted) != 0 {
			t.Errorf("%+v %v", drift, err)
		}
	})
}

// world is one of each: an external network, a tenant's with a router, a port
// and a floating IP.
type world struct{ ext, net, sub, router, port, fip, group string }

func (s *service) world() world {
	s.t.Helper()
	var w world
	w.ext = s.make("admin", "networks", `{"network":{"router:external":true}}`)
	s.make("admin", "subnets", `{"subnet":{"network_id":"`+w.ext+`","ip_version":4,"cidr":"203.0.113.0/24","enable_dhcp":false}}`)
	w.net = s.make("member", "networks", `{"network":{}}`)
	w.sub = s.make("member", "subnets", `{"subnet":{"network_id":"`+w.net+`","ip_version":4,"cidr":"10.0.0.0/24"}}`)
	w.router = s.make("member", "routers", `{"router":{"external_gateway_info":{"network_id":"`+w.ext+`"}}}`)
	s.want(200, "member", "PUT", "/v2.0/routers/"+w.router+"/add_router_interface", `{"subnet_id":"`+w.sub+`"}`)
	w.group = s.make("member", "security-groups", `{"security_group":{"name":"g"}}`)
	// An address that no test asks for: a random one might be that.
	w.port = s.make("member", "ports", `{"port":{"network_id":"`+w.net+`","fixed_ips":[{"ip_address":"10.0.0.10"}],"security_groups":["`+w.group+`"]}}`)
	w.fip = s.make("member", "floatingips", `{"floatingip":{"floating_network_id":"`+w.ext+`","port_id":"`+w.port+`"}}`)
	return w
}

// TestThreat43 : a guest's filters stay, whatever device owner its user claims.
func TestThreat43(t *testing.T) {
	s := newService(t)
	w := s.world()
	for _, owner := range []string{"network:router_interface", "network:distributed", "network:router_gateway", "network:floatingip"} {
		s.refused(403, "", "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"device_owner":"`+owner+`","device_id":"ovnmeta-`+w.net+`"}}`)
		s.refused(403, "", "member", "POST", "/v2.0/ports", `{"port":{"network_id":"`+w.net+`","device_owner":"`+owner+`"}}`)
	}
	s.want(200, "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"device_owner":"network:dhcp"}}`)
	s.settle()
	p, ok := s.driver.Object(driver.Object{Kind: driver.ObjectPort, ID: w.port}).(driver.Port)
	if !ok || !p.PortSecurity || p.Kind != driver.KindVIF || len(p.SecurityGroups) != 1 {
		t.Errorf("the dataplane has %+v", p)
	}
}

// TestThreat44 : nobody plugs into a router of others, or others' ports into
// their own.
func TestThreat44(t *testing.T) {
	s := newService(t)
	w := s.world()
	s.refused(404, "RouterNotFound", "other", "PUT", "/v2.0/routers/"+w.router+"/add_router_interface", `{"subnet_id":"`+w.sub+`"}`)
	mine := s.make("other", "routers", `{"router":{}}`)
	s.refused(404, "SubnetNotFound", "other", "PUT", "/v2.0/routers/"+mine+"/add_router_interface", `{"subnet_id":"`+w.sub+`"}`)
	s.refused(404, "PortNotFound", "other", "PUT", "/v2.0/routers/"+mine+"/add_router_interface", `{"port_id":"`+w.port+`"}`)
	s.want(200, "admin", "PUT", "/v2.0/networks/"+w.net, `{"network":{"shared":true}}`)
	s.refused(404, "PortNotFound", "other", "PUT", "/v2.0/routers/"+mine+"/add_router_interface", `{"port_id":"`+w.port+`"}`)
	p := s.make("other", "ports", `{"port":{"network_id":"`+w.net+`"}}`)
	s.refused(403, "", "other", "PUT", "/v2.0/ports/"+p, `{"port":{"device_owner":"network:router_interface","device_id":"`+w.router+`"}}`)
	for _, prefix := range []string{"10.0.0.0/33", "/", "10.0.0.0/", "::/129", "0.0.0.0/0; drop", "10.0.0.0/24\\n"} {
		s.refused(400, "", "member", "POST", "/v2.0/security-group-rules", `{"security_group_rule":{"security_group_id":"`+w.group+`","direction":"ingress","remote_ip_prefix":"`+prefix+`"}}`)
	}
}

// TestThreat45 : overlapping and odd port ranges neither stop others nor each
// other.
func TestThreat45(t *testing.T) {
	s := newService(t)
	w := s.world()
	rule := func(body string) string {
		return `{"security_group_rule":{"security_group_id":"` + w.group + `","direction":"ingress",` + body + `}}`
	}
	for _, body := range []string{
		`"protocol":"tcp","port_range_min":1,"port_range_max":65535`, `"protocol":"tcp","port_range_min":1,"port_range_max":2`,
		`"protocol":"tcp","port_range_min":2,"port_range_max":3`, `"protocol":"tcp","port_range_min":65535,"port_range_max":65535`,
		`"protocol":"sctp","port_range_min":7,"port_range_max":7`, `"protocol":"vrrp"`, `"protocol":"112","ethertype":"IPv6"`, `"protocol":"0"`, `"protocol":255`,
	} {
		s.make("member", "security-group-rules", rule(body))
	}
	for _, body := range []string{
		`"protocol":"tcp","port_range_min":0,"port_range_max":5`, `"protocol":"vrrp","port_range_min":1`, `"protocol":"256"`, `"protocol":"-1"`,
		`"protocol":"tcp","port_range_min":-1,"port_range_max":-1`, `"protocol":"udp","port_range_max":7`, `"protocol":"tcp","port_range_min":1e99`,
	} {
		s.refused(400, "", "member", "POST", "/v2.0/security-group-rules", rule(body))
	}
	s.settle()
	g, _ := s.driver.Object(driver.Object{Kind: driver.ObjectSecurityGroup, ID: w.group}).(driver.SecurityGroup)
	for _, r := range g.Rules {
		if err := r.Validate(); err != nil {
			t.Errorf("a rule that was taken can't be applied: %v", err)
		}
	}
}

// TestThreat46 : no DHCP option brings a line of its own.
func TestThreat46(t *testing.T) {
	s := newService(t)
	w := s.world()
	for _, o := range []string{
		`{"opt_name":"a\nb","opt_value":"x"}`, `{"opt_name":"bootfile-name","opt_value":"x\nhost=evil"}`, `{"opt_name":"bootfile-name","opt_value":"x\r"}`,
		`{"opt_name":"bootfile-name","opt_value":"\"x"}`, `{"opt_name":"","opt_value":"x"}`, `{"opt_name":"x y","opt_value":"x"}`,
		`{"opt_name":"bootfile-name","opt_value":"x","evil":1}`, `{"opt_name":"bootfile-name","opt_value":"` + strings.Repeat("x", 300) + `"}`, `"text"`,
	} {
		s.refused(400, "HTTPBadRequest", "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"extra_dhcp_opts":[`+o+`]}}`)
	}
	s.want(200, "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"extra_dhcp_opts":[{"opt_name":"bootfile-name","opt_value":"pxe.0"},{"opt_name":"ntp-server","opt_value":"1.2.3.4"}]}}`)
	p := s.want(200, "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"extra_dhcp_opts":[{"opt_name":"bootfile-name","opt_value":null}]}}`)
	if n := len(p["extra_dhcp_opts"].([]any)); n != 1 {
		t.Errorf("%d options left, want 1", n)
	}
}

// TestThreat47 : lists of a resource are bounded.
func TestThreat47(t *testing.T) {
	s := newService(t)
	w := s.world()
	repeat := func(n int, f func(i int) string) string {
		var l []string
		for i := range n {
			l = append(l, f(i))
		}
		return "[" + strings.Join(l, ",") + "]"
	}
	addr := func(i int) string { return fmt.Sprintf("10.%d.%d.1", i/250, i%250) }
	s.refused(400, "AllowedAddressPairExhausted", "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"allowed_address_pairs":`+repeat(11, func(i int) string { return `{"ip_address":"` + addr(i) + `"}` })+`}}`)
	s.refused(400, "RoutesExhausted", "member", "PUT", "/v2.0/routers/"+w.router, `{"router":{"routes":`+repeat(31, func(i int) string { return fmt.Sprintf(`{"destination":"172.16.%d.0/24","nexthop":"10.0.0.9"}`, i) })+`}}`)
	s.refused(400, "HostRoutesExhausted", "member", "PUT", "/v2.0/subnets/"+w.sub, `{"subnet":{"host_routes":`+repeat(21, func(i int) string { return fmt.Sprintf(`{"destination":"172.16.%d.0/24","nexthop":"10.0.0.9"}`, i) })+`}}`)
	s.refused(400, "DNSNameServersExhausted", "member", "PUT", "/v2.0/subnets/"+w.sub, `{"subnet":{"dns_nameservers":`+repeat(6, func(i int) string { return `"` + addr(i) + `"` })+`}}`)
	s.refused(400, "InvalidInput", "member", "PUT", "/v2.0/ports/"+w.port, `{"port":{"fixed_ips":`+repeat(6, func(int) string { return `{"subnet_id":"` + w.sub + `"}` })+`}}`)
	s.refused(400, "", "member", "PUT", "/v2.0/ports/"+w.port+"/tags", `{"tags":`+repeat(51, func(i int) string { return fmt.Sprintf(`"t%d"`, i) })+`}`)
	s.refused(400, "", "member", "POST", "/v2.0/networks", `{"networks":`+repeat(501, func(int) string { return `{}` })+`}`)
	var code int
	for range 12 {
		code, _ = s.do("member", "POST", "/v2.0/security-groups", `{"security_group":{"name":"many"}}`)
	}
	if code != 409 {
		t.Errorf("security groups are not bounded: %d", code)
	}
}

// TestThreat48 : tags follow the policy of what they are on.
func TestThreat48(t *testing.T) {
	s := newService(t)
	w := s.world()
	s.want(200, "admin", "PUT", "/v2.0/networks/"+w.net, `{"network":{"shared":true}}`)
	for _, c := range [][2]string{{"PUT", "/tags/x"}, {"DELETE", "/tags"}, {"DELETE", "/tags/x"}} {
		s.refused(403, "", "other", c[0], "/v2.0/networks/"+w.net+c[1], "")
		s.refused(403, "", "reader", c[0], "/v2.0/networks/"+w.net+c[1], "")
		s.refused(404, "", "other", c[0], "/v2.0/ports/"+w.port+c[1], "")
	}
	s.refused(403, "", "other", "PUT", "/v2.0/networks/"+w.net+"/tags", `{"tags":["x"]}`)
}

// TestThreat49 : what is shared must be one's own, and the owner of a policy
// comes from its object.
func TestThreat49(t *testing.T) {
	s := newService(t)
	w := s.world()
	body := `{"rbac_policy":{"object_type":"security_group","object_id":"` + w.group + `","action":"access_as_shared","target_tenant":"` + project("p2") + `"}}`
	s.refused(404, "SecurityGroupNotFound", "other", "POST", "/v2.0/rbac-policies", body)
	for _, target := range []string{"../users/x", "..", "a?b=c", "%s%n", ""} { // never a part of a path at identity
		s.refused(400, "InvalidInput", "member", "POST", "/v2.0/rbac-policies", strings.Replace(body, project("p2"), target, 1))
	}
	id := s.make("member", "rbac-policies", body)
	p := s.want(200, "other", "GET", "/v2.0/security-groups/"+w.group, "")
	if p["shared"] != true {
		t.Errorf("shared group %v", p["shared"])
	}
	s.refused(403, "", "other", "DELETE", "/v2.0/rbac-policies/"+id, "")
	n := s.make("other", "networks", `{"network":{}}`)
	s.make("other", "ports", `{"port":{"network_id":"`+n+`","security_groups":["`+w.group+`"]}}`)
	s.refused(409, "RbacPolicyInUse", "member", "DELETE", "/v2.0/rbac-policies/"+id, "")
	s.refused(403, "", "member", "POST", "/v2.0/rbac-policies", `{"rbac_policy":{"object_type":"network","object_id":"`+w.net+`","action":"access_as_shared","target_tenant":"*"}}`)
}

func TestSLAACFollowsTheMAC(t *testing.T) {
	s := newService(t)
	net := s.make("member", "networks", `{"network":{}}`)
	port := s.make("member", "ports", `{"port":{"network_id":"`+net+`","mac_address":"fa:16:3e:12:34:56"}}`)
	s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":6,"cidr":"2001:db8::/64","ipv6_ra_mode":"slaac","ipv6_address_mode":"slaac"}}`)
	p := s.want(200, "member", "GET", "/v2.0/ports/"+port, "")
	if got := fmt.Sprint(p["fixed_ips"]); !strings.Contains(got, "2001:db8::f816:3eff:fe12:3456") {
		t.Errorf("a port that was there has %s", got)
	}
}

func TestAutoAllocatedTopology(t *testing.T) {
	s := newService(t)
	s.make("admin", "subnetpools", `{"subnetpool":{"prefixes":["10.20.0.0/16"],"default_prefixlen":26,"is_default":true,"shared":true}}`)
	ext := s.make("admin", "networks", `{"network":{"router:external":true,"is_default":true}}`)
	s.make("admin", "subnets", `{"subnet":{"network_id":"`+ext+`","ip_version":4,"cidr":"203.0.113.0/24","enable_dhcp":false}}`)
	path := "/v2.0/auto-allocated-topology/" + project("p1")
	if d := s.want(200, "member", "GET", path+"?fields=dry-run", ""); d["id"] != "dry-run=pass" {
		t.Errorf("dry run %v", d)
	}
	a := s.want(200, "member", "GET", path, "")
	if b := s.want(200, "member", "GET", path, ""); a["id"] != b["id"] {
		t.Errorf("%v then %v", a, b)
	}
	s.refused(403, "", "other", "GET", path, "")
	s.want(204, "member", "DELETE", path, "")
	if n := len(s.items("member", "/v2.0/networks?router:external=false")); n != 0 {
		t.Errorf("%d networks left", n)
	}
}

// TestProbe keeps the config's defaults and the quotas in step.
func TestQuotaNamesAreKinds(t *testing.T) {
	for name := range testConfig().Quota.Defaults() {
		if !strings.Contains("network subnet port router floatingip security_group security_group_rule subnetpool rbac_policy address_group", name) {
			t.Errorf("quota %s counts no kind", name)
		}
	}
	_ = network.StatusActive
}

// TestRacesOnRouters adds, removes and uses legs at the same time: whatever
// wins, the dataplane's state stays sound.
func TestRacesOnRouters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServiceOn(t, d)
		w := s.world()
		s.want(204, "member", "DELETE", "/v2.0/floatingips/"+w.fip, "")
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				var code int
				var doc map[string]any
				switch i % 4 {
				case 0:
					code, doc = s.do("member", "PUT", "/v2.0/routers/"+w.router+"/remove_router_interface", `{"subnet_id":"`+w.sub+`"}`)
				case 1:
					code, doc = s.do("member", "PUT", "/v2.0/routers/"+w.router+"/add_router_interface", `{"subnet_id":"`+w.sub+`"}`)
				case 2:
					code, doc = s.do("member", "POST", "/v2.0/floatingips", `{"floatingip":{"floating_network_id":"`+w.ext+`","port_id":"`+w.port+`"}}`)
				case 3:
					code, doc = s.do("member", "POST", "/v2.0/subnets", `{"subnet":{"network_id":"`+w.net+`","ip_version":4,"cidr":"10.8.0.0/24"}}`)
				}
				if code >= 500 {
					t.Errorf("%d %v", code, doc)
				}
			})
		}
		wg.Wait()
		legs := s.items("member", "/v2.0/ports?device_id="+w.router+"&device_owner=network:router_interface")
		fips := s.items("member", "/v2.0/floatingips?port_id="+w.port)
		if len(legs) > 1 || len(fips) > 1 || len(fips) == 1 && len(legs) == 0 {
			t.Errorf("%d legs, %d floating IPs", len(legs), len(fips))
		}
		if n := len(s.items("member", "/v2.0/subnets?cidr=10.8.0.0/24")); n != 1 {
			t.Errorf("%d subnets of one prefix", n)
		}
		s.settle()
		drift, err := s.agent.Sync(context.Background())
		if err != nil || len(drift.Healed)+len(drift.Deleted) != 0 {
			t.Errorf("%+v %v", drift, err)
		}
	})
}
