package ovn

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

func keyRouter(id string) string { return "router/" + id }

func keyRouterPort(port string) string { return "router-port/" + port }

// routerPortName is the router's side of a port of KindRouter.
func routerPortName(port string) string { return "lrp-" + port }

// routerPlan gathers the rows of one router.
type routerPlan struct {
	o        driver.Object
	rows     []row
	problems []string
}

func (p *routerPlan) bad(format string, args ...any) {
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

// child adds a row below the router.
func (p *routerPlan) child(table, key string, columns ovsdb.Row) {
	p.rows = append(p.rows, owned(p.o, table, key, columns).in(tableRouter, keyRouter(p.o.ID)))
}

// renderRouter makes a logical router with ports, routes and SNAT.
func renderRouter(r driver.Router, chassis []string) render {
	return func(ovsdb.View) (*plan, error) {
		p := &routerPlan{o: driver.Object{Kind: driver.ObjectRouter, ID: r.ID}}
		lr := owned(p.o, tableRouter, keyRouter(r.ID), ovsdb.Row{
			"name": "tropo-" + r.ID, "enabled": r.AdminUp,
			// Neighbours are asked for when needed, not kept as flows for
			// every pair of routers of a provider network.
			"options": map[string]string{"always_learn_from_arp_request": "false", "dynamic_neigh_routers": "true"},
		})
		lr.marks = map[string]string{"tropo:name": r.Name}
		p.rows = append(p.rows, lr)
		smallest := 0
		for _, i := range r.Interfaces {
			p.addInterface(i)
			if i.MTU > 0 && (smallest == 0 || i.MTU < smallest) {
				smallest = i.MTU
			}
		}
		if r.Gateway != nil {
			p.addGateway(*r.Gateway, chassis, smallest)
			p.addSNAT(r)
		}
		for _, route := range r.Routes {
			p.addRoute(route)
		}
		return &plan{rows: p.rows}, joinInvalid("Router "+r.ID, p.problems)
	}
}

// port adds a router port; it reports whether that was possible.
func (p *routerPlan) port(id, mac string, networks []netip.Prefix, columns ovsdb.Row) bool {
	hw, ok := driver.NormalMAC(mac)
	if !ok || !driver.ValidID(id) {
		p.bad("port %q: invalid id or MAC address %q", id, mac)
		return false
	}
	var list []string
	for _, n := range networks {
		if !n.IsValid() {
			p.bad("port %s: invalid address", id)
			continue
		}
		list = append(list, n.String())
	}
	if len(list) == 0 {
		p.bad("port %s has no address", id)
		return false
	}
	columns["name"], columns["mac"], columns["networks"] = routerPortName(id), hw, list
	p.child(tableRouterPort, keyRouterPort(id), columns)
	return true
}

func (p *routerPlan) addInterface(i driver.RouterInterface) {
	ra := map[string]string{}
	switch i.IPv6RA {
	case "":
	case "slaac", "dhcpv6-stateful", "dhcpv6-stateless":
		mode := map[string]string{"slaac": "slaac", "dhcpv6-stateful": "dhcpv6_stateful", "dhcpv6-stateless": "dhcpv6_stateless"}
		ra["address_mode"], ra["send_periodic"] = mode[i.IPv6RA], "true"
		if i.MTU >= 1280 {
			ra["mtu"] = strconv.Itoa(i.MTU)
		}
	default:
		p.bad("port %s: unknown ipv6_ra_mode %q", i.PortID, i.IPv6RA)
	}
	p.port(i.PortID, i.MAC, i.Addresses, ovsdb.Row{"ipv6_ra_configs": ra, "options": map[string]string{}})
}

// addGateway adds the leg to the external network, its chassis and the
// default routes. inner is the smallest MTU inside, in bytes.
func (p *routerPlan) addGateway(g driver.RouterGateway, chassis []string, inner int) {
	options := map[string]string{}
	if g.MTU > 0 && g.MTU < inner {
		options["gateway_mtu"] = strconv.Itoa(g.MTU)
	}
	if !p.port(g.PortID, g.MAC, g.Addresses, ovsdb.Row{"ipv6_ra_configs": map[string]string{}, "options": options}) {
		return
	}
	if len(g.Hosts) > 0 {
		chassis = g.Hosts
	}
	// OVN supports five gateways at most.
	for i, c := range chassis[:min(5, len(chassis))] {
		name := routerPortName(g.PortID) + "_" + c
		p.rows = append(p.rows, owned(p.o, tableGatewayChassis, "gateway/"+name, ovsdb.Row{
			"name": name, "chassis_name": c, "priority": 100 - i,
		}).in(tableRouterPort, keyRouterPort(g.PortID)))
	}
	done := map[bool]bool{}
	for _, hop := range g.NextHops {
		if !hop.IsValid() || hop.Zone() != "" || done[hop.Is4()] {
			continue
		}
		done[hop.Is4()] = true
		all := "::/0"
		if hop.Is4() {
			all = "0.0.0.0/0"
		}
		p.child(tableRoute, "default/"+p.o.ID+"/"+all, ovsdb.Row{
			"ip_prefix": all, "nexthop": hop.String(), "output_port": routerPortName(g.PortID), "policy": nil,
		})
	}
}

// addSNAT hides the IPv4 subnets of the interfaces.
func (p *routerPlan) addSNAT(r driver.Router) {
	if !r.Gateway.SNAT {
		return
	}
	var external netip.Addr
	for _, a := range r.Gateway.Addresses {
		if a.IsValid() && a.Addr().Is4() {
			external = a.Addr()
			break
		}
	}
	if !external.IsValid() {
		return
	}
	seen := map[netip.Prefix]bool{}
	for _, i := range r.Interfaces {
		for _, a := range i.Addresses {
			inside := a.Masked()
			if !a.IsValid() || !a.Addr().Is4() || seen[inside] {
				continue
			}
			seen[inside] = true
			p.child(tableNAT, "snat/"+p.o.ID+"/"+inside.String(), ovsdb.Row{
				"type": "snat", "logical_ip": inside.String(), "external_ip": external.String(), "logical_port": nil, "external_mac": nil,
			})
		}
	}
}

func (p *routerPlan) addRoute(r driver.Route) {
	if err := r.Validate(); err != nil {
		p.bad("%s", err)
		return
	}
	to := r.Destination.Masked().String()
	p.child(tableRoute, "route/"+p.o.ID+"/"+to+"/"+r.NextHop.String(), ovsdb.Row{
		"ip_prefix": to, "nexthop": r.NextHop.String(), "output_port": nil, "policy": nil,
	})
}

// renderFloatingIP makes the NAT entry of a floating IP.
func renderFloatingIP(f driver.FloatingIP) render {
	return func(ovsdb.View) (*plan, error) {
		if err := f.Validate(); err != nil {
			return nil, err
		}
		columns := ovsdb.Row{
			"type": "dnat_and_snat", "external_ip": f.External.String(), "logical_ip": f.Fixed.String(), "logical_port": nil, "external_mac": nil,
		}
		if f.Distributed {
			mac, _ := driver.NormalMAC(f.MAC)
			columns["logical_port"], columns["external_mac"] = f.PortID, mac
		}
		nat := owned(driver.Object{Kind: driver.ObjectFloatingIP, ID: f.ID}, tableNAT, "floating-ip/"+f.ID, columns).in(tableRouter, keyRouter(f.RouterID))
		nat.marks = map[string]string{"tropo:port": f.PortID}
		return &plan{rows: []row{nat}}, nil
	}
}
