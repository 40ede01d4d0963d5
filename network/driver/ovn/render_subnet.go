package ovn

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// defaultLease is Neutron's dhcp_lease_duration: 12 hours, in seconds.
const defaultLease = 43200

func keySubnet(id string) string { return "subnet/" + id }

// keyPortDHCP names the DHCP answers of a port with options of its own.
func keyPortDHCP(port string, v6 bool) string {
	if v6 {
		return "dhcp6/" + port
	}
	return "dhcp4/" + port
}

// renderSubnet makes the DHCP answers of a subnet and brings the ports that
// get them along.
func renderSubnet(s driver.Subnet) render {
	return func(v ovsdb.View) (*plan, error) {
		if !s.CIDR.IsValid() {
			return nil, fault.Invalidf("Subnet %s has no valid CIDR.", s.ID)
		}
		if !s.DHCP {
			return renderNoSubnet(s.ID)(v)
		}
		if find(v, ref{tableSwitch, keyNetwork(s.NetworkID)}) == nil {
			return nil, fault.Missing("Network", s.NetworkID)
		}
		var options map[string]string
		var problems []string
		v6 := !s.CIDR.Addr().Is4()
		if v6 {
			options, problems = options6(s)
		} else {
			options, problems = options4(s)
		}
		o := driver.Object{Kind: driver.ObjectSubnet, ID: s.ID}
		dhcp := owned(o, tableDHCP, keySubnet(s.ID), ovsdb.Row{"cidr": s.CIDR.Masked().String(), "options": options})
		p := &plan{rows: []row{dhcp}}
		for _, port := range v.Find(tableSwitchPort, indexSubnet, s.ID) {
			id := port.String("name")
			target := dhcp.ref
			if extra := port.Get("external_ids", markDHCP(v6)); extra != "" {
				own := portDHCP(id, v6, s.CIDR.Masked().String(), options, extra)
				p.rows = append(p.rows, own)
				target = own.ref
			}
			link := row{ref: ref{tableSwitchPort, keyPort(id)}, partial: true, links: map[string][]ref{columnDHCP(v6): {target}}}
			p.rows = append(p.rows, link)
		}
		return p, joinInvalid("Subnet "+s.ID, problems)
	}
}

// renderNoSubnet removes a subnet's answers and those of its ports.
func renderNoSubnet(id string) render {
	return func(v ovsdb.View) (*plan, error) {
		p := &plan{}
		for _, port := range v.Find(tableSwitchPort, indexSubnet, id) {
			v6 := port.Get("external_ids", markSubnet6) == id
			p.remove = append(p.remove, ref{tableDHCP, keyPortDHCP(port.String("name"), v6)})
		}
		return p, nil
	}
}

func markDHCP(v6 bool) string {
	if v6 {
		return markDHCP6
	}
	return markDHCP4
}

func columnDHCP(v6 bool) string {
	if v6 {
		return "dhcpv6_options"
	}
	return "dhcpv4_options"
}

// portDHCP is a subnet's answers with a port's own options over them.
func portDHCP(port string, v6 bool, cidr string, options map[string]string, extra string) row {
	merged := maps.Clone(options)
	own := map[string]string{}
	if json.Unmarshal([]byte(extra), &own) == nil { // written by renderPort; a spoilt mark counts as none
		maps.Copy(merged, own)
	}
	o := driver.Object{Kind: driver.ObjectPort, ID: port}
	return owned(o, tableDHCP, keyPortDHCP(port, v6), ovsdb.Row{"cidr": cidr, "options": merged})
}

// serverMAC is the DHCP server's address, the same at every rendering.
func serverMAC(subnet string) string {
	h := sha256.Sum256([]byte(subnet))
	return fmt.Sprintf("fa:16:3e:%02x:%02x:%02x", h[0], h[1], h[2])
}

var domainName = regexp.MustCompile(`^[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63})*\.?$`)

func options4(s driver.Subnet) (map[string]string, []string) {
	var problems []string
	server := s.Metadata
	if !server.IsValid() {
		server = s.Gateway
	}
	if !server.IsValid() {
		server = s.CIDR.Masked().Addr().Next()
	}
	out := map[string]string{"server_id": server.String(), "server_mac": serverMAC(s.ID), "lease_time": strconv.Itoa(defaultLease)}
	if s.LeaseTime > 0 {
		out["lease_time"] = strconv.Itoa(s.LeaseTime)
	}
	if s.MTU > 0 {
		out["mtu"] = strconv.Itoa(s.MTU)
	}
	if s.Gateway.IsValid() {
		out["router"] = s.Gateway.String()
	}
	if dns := addresses(s.DNS, false); dns != "" {
		out["dns_server"] = dns
	}
	if s.Domain != "" {
		if domainName.MatchString(s.Domain) && len(s.Domain) <= 253 {
			out["domain_name"] = `"` + s.Domain + `"`
		} else {
			problems = append(problems, fmt.Sprintf("bad domain name %q", s.Domain))
		}
	}
	var routes []string
	if s.Metadata.IsValid() {
		routes = append(routes, "169.254.169.254/32,"+s.Metadata.String())
	}
	for _, r := range s.HostRoutes {
		if !r.Destination.IsValid() || !r.Destination.Addr().Is4() || !r.NextHop.Is4() {
			problems = append(problems, fmt.Sprintf("bad host route %s via %s", r.Destination, r.NextHop))
			continue
		}
		routes = append(routes, r.Destination.Masked().String()+","+r.NextHop.String())
	}
	if len(routes) > 0 {
		if s.Gateway.IsValid() { // with classless routes clients ignore option 3 (RFC 3442)
			routes = append(routes, "0.0.0.0/0,"+s.Gateway.String())
		}
		out["classless_static_route"] = "{" + strings.Join(routes, ", ") + "}"
	}
	return out, problems
}

func options6(s driver.Subnet) (map[string]string, []string) {
	var problems []string
	out := map[string]string{"server_id": serverMAC(s.ID)}
	if dns := addresses(s.DNS, true); dns != "" {
		out["dns_server"] = dns
	}
	if s.Domain != "" {
		if domainName.MatchString(s.Domain) && len(s.Domain) <= 253 {
			out["domain_search"] = `"` + s.Domain + `"`
		} else {
			problems = append(problems, fmt.Sprintf("bad domain name %q", s.Domain))
		}
	}
	if s.Stateless {
		out["dhcpv6_stateless"] = "true"
	}
	return out, problems
}

// addresses lists those of one family in OVN's form.
func addresses(list []netip.Addr, v6 bool) string {
	var out []string
	for _, a := range list {
		if a.IsValid() && a.Is4() != v6 && a.Zone() == "" {
			out = append(out, a.String())
		}
	}
	switch len(out) {
	case 0:
		return ""
	case 1:
		return out[0]
	}
	return "{" + strings.Join(out, ", ") + "}"
}
