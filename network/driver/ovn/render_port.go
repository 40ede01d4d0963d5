package ovn

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

func keyPort(id string) string { return "port/" + id }

// ownerGateway is the device_owner of router gateways.
const ownerGateway = "network:router_gateway"

// renderPort makes a logical switch port, its group memberships and its DHCP
// answers.
func renderPort(p driver.Port) render {
	return func(v ovsdb.View) (*plan, error) {
		if p.Kind == driver.KindReserved {
			return &plan{}, nil // its addresses are answered for by a router's NAT
		}
		mac, ok := driver.NormalMAC(p.MAC)
		if !ok || !driver.ValidID(p.NetworkID) {
			return nil, fault.Invalidf("Port %s: invalid MAC address %q or network %q.", p.ID, p.MAC, p.NetworkID)
		}
		lsp := owned(driver.Object{Kind: driver.ObjectPort, ID: p.ID}, tableSwitchPort, keyPort(p.ID), ovsdb.Row{
			"name": p.ID, "type": "", "options": map[string]string{}, "addresses": []string{own(mac, p.Addresses)},
			"port_security": nil, "enabled": p.AdminUp, "tag": nil,
		}).in(tableSwitch, keyNetwork(p.NetworkID))
		lsp.links = map[string][]ref{"dhcpv4_options": nil, "dhcpv6_options": nil}
		lsp.marks = map[string]string{markDevice: p.DeviceID, markDeviceOwner: p.DeviceOwner, markProject: p.ProjectID}
		out := &plan{}
		var problems []string
		switch p.Kind {
		case driver.KindRouter:
			options := map[string]string{"router-port": routerPortName(p.ID)}
			if p.DeviceOwner == ownerGateway {
				options["nat-addresses"] = "router" // announce floating IPs after a move
			}
			lsp.columns["type"], lsp.columns["options"], lsp.columns["addresses"] = "router", options, []string{"router"}
		case driver.KindMetadata:
			lsp.columns["type"] = "localport"
			lsp.marks[markPrefixes], lsp.marks[markMTU] = prefixes(p.Addresses), strconv.Itoa(p.MTU)
		case driver.KindVIF:
			problems = append(secure(&lsp, p, mac), guestDHCP(v, &lsp, p, out)...)
			if p.Host != "" {
				lsp.columns["options"] = map[string]string{"requested-chassis": p.Host}
			}
		default:
			return nil, fault.Invalidf("Port %s has the unknown kind %q.", p.ID, p.Kind)
		}
		out.rows = append(out.rows, lsp)
		return out, joinInvalid("Port "+p.ID, problems)
	}
}

// prefixes writes the addresses with the lengths of their subnets.
func prefixes(list []driver.PortAddress) string {
	var out []string
	for _, a := range list {
		if p := netip.PrefixFrom(a.IP, a.Bits); a.Bits > 0 && p.IsValid() {
			out = append(out, p.String())
		}
	}
	return strings.Join(out, " ")
}

// own writes "MAC IP IP …".
func own(mac string, list []driver.PortAddress) string {
	out := []string{mac}
	for _, a := range list {
		if a.IP.IsValid() && a.IP.Zone() == "" {
			out = append(out, a.IP.String())
		}
	}
	return strings.Join(out, " ")
}

// secure sets anti-spoofing and group memberships. Both are in the same
// transaction as the port, and depend on PortSecurity alone, not on who says
// to own the device (CVE-2015-5240).
func secure(lsp *row, p driver.Port, mac string) []string {
	var problems []string
	addresses := []string{own(mac, p.Addresses)}
	if !p.PortSecurity {
		lsp.columns["addresses"] = append(addresses, "unknown")
		return nil
	}
	sources := map[string][]string{mac: nil}
	for _, a := range p.Addresses {
		if a.IP.IsValid() && a.IP.Zone() == "" {
			sources[mac] = append(sources[mac], a.IP.String())
		}
	}
	for _, pair := range p.AllowedPairs {
		if err := pair.Validate(); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		from := mac
		if pair.MAC != "" {
			from, _ = driver.NormalMAC(pair.MAC)
		}
		sources[from] = append(sources[from], prefix(pair.Prefix))
	}
	if len(sources[mac]) == 0 {
		// A MAC alone would allow every address; this one allows just DHCP.
		sources[mac] = []string{"0.0.0.0"}
	}
	var security []string
	for m, list := range sources {
		slices.Sort(list)
		security = append(security, m+" "+strings.Join(slices.Compact(list), " "))
	}
	if len(sources) > 1 { // other MACs move between ports (VRRP): flood what nobody else has
		addresses = append(addresses, "unknown")
	}
	lsp.columns["addresses"], lsp.columns["port_security"] = addresses, security
	lsp.groups = []string{keyDrop}
	for _, g := range p.SecurityGroups {
		if !driver.ValidID(g) {
			problems = append(problems, fmt.Sprintf("bad security group id %q", g))
			continue
		}
		lsp.groups = append(lsp.groups, keyGroup(g))
	}
	return problems
}

// prefix writes a host without its length.
func prefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

// guestDHCP links the port to the answers of its first subnet of each family,
// or to answers of its own when it has extra options.
func guestDHCP(v ovsdb.View, lsp *row, p driver.Port, out *plan) []string {
	extra := map[bool]map[string]string{false: {}, true: {}}
	var problems []string
	for _, o := range p.DHCPOptions {
		name, value, supported, err := o.Translate()
		if err != nil {
			problems = append(problems, strings.TrimSuffix(err.Error(), "."))
			continue
		}
		if supported {
			extra[o.IPv6][name] = value
		}
	}
	for _, v6 := range []bool{false, true} {
		i := slices.IndexFunc(p.Addresses, func(a driver.PortAddress) bool { return a.IP.IsValid() && a.IP.Is4() != v6 })
		if i < 0 || !driver.ValidID(p.Addresses[i].SubnetID) {
			continue
		}
		subnet := ref{tableDHCP, keySubnet(p.Addresses[i].SubnetID)}
		lsp.marks[map[bool]string{false: markSubnet4, true: markSubnet6}[v6]] = p.Addresses[i].SubnetID
		lsp.links[columnDHCP(v6)] = []ref{subnet}
		if len(extra[v6]) == 0 {
			continue
		}
		text, err := json.Marshal(extra[v6]) // keys sorted: the same text each time
		if err != nil {
			continue // a map of strings always encodes
		}
		lsp.marks[markDHCP(v6)] = string(text)
		if base := find(v, subnet); base != nil {
			mine := portDHCP(p.ID, v6, base.String("cidr"), base.StringMap("options"), string(text))
			out.rows = append(out.rows, mine)
			lsp.links[columnDHCP(v6)] = []ref{mine.ref}
		}
	}
	return problems
}
