package manager

import (
	"context"
	"net/netip"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// maxPortGroups bounds the security groups of a port (threats.md 47).
const maxPortGroups = 50

// checkPort checks what must hold between a port's attributes.
func (m *Manager) checkPort(ctx context.Context, p *network.Port) error {
	if len(p.Groups) > maxPortGroups {
		return invalid("A port can have at most %d security groups.", maxPortGroups)
	}
	if !p.PortSecurity && len(p.Groups) > 0 {
		return bad("PortSecurityAndIPRequiredForSecurityGroups", "Port security must be enabled and port must have an IP address in order to use security groups.")
	}
	if !p.PortSecurity && len(p.AllowedPairs) > 0 {
		return conflict("AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port.")
	}
	if err := m.checkPairs(p); err != nil {
		return err
	}
	if err := m.checkDNS(p); err != nil {
		return err
	}
	return m.checkGroups(ctx, p)
}

// checkPairs completes and bounds the allowed address pairs (CVE-2014-3555,
// CVE-2015-3221).
func (m *Manager) checkPairs(p *network.Port) error {
	if len(p.AllowedPairs) > m.conf.MaxAddressPairs {
		return bad("AllowedAddressPairExhausted", "The number of allowed address pair exceeds the maximum %d.", m.conf.MaxAddressPairs)
	}
	seen := map[network.AddressPair]bool{}
	for i := range p.AllowedPairs {
		a := &p.AllowedPairs[i]
		if a.MAC == "" {
			a.MAC = p.MAC
		}
		px, err := network.ParsePrefix(a.IP)
		if err != nil {
			return bad("HTTPBadRequest", "Invalid input for allowed_address_pairs. Reason: '%s' is not a valid IP address.", a.IP)
		}
		key := network.AddressPair{MAC: a.MAC, IP: px.String()}
		if seen[key] {
			return bad("DuplicateAddressPairInRequest", "Request contains duplicate address pair: mac_address %s ip_address %s.", a.MAC, a.IP)
		}
		seen[key] = true
	}
	return nil
}

func (m *Manager) checkDNS(p *network.Port) error {
	name := strings.TrimSuffix(p.DNSName, ".")
	domain := strings.TrimSuffix(m.conf.DNSDomain, ".")
	if len(name)+len(domain)+1 > 253 {
		return bad("HTTPBadRequest", "Invalid input for dns_name. Reason: the name with the domain is longer than 253 characters.")
	}
	return nil
}

// checkGroups finds the security groups among those that the port's project
// or the caller may see.
func (m *Manager) checkGroups(ctx context.Context, p *network.Port) error {
	seen := map[string]bool{}
	var ids []string
	for _, id := range p.Groups {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	p.Groups = ids
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		_, err := store.Find[network.SecurityGroup](ctx, m.store, network.Scope{ProjectID: p.ProjectID}, id)
		if fault.Is(err, fault.NotFound) {
			_, err = store.Find[network.SecurityGroup](ctx, m.store, scope(ctx), id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// portWith finds the port on a network that has the address; nil: none.
func (m *Manager) portWith(ctx context.Context, networkID string, a netip.Addr) (*network.Port, error) {
	list, err := m.store.PortsOf(ctx, db.Where().Raw("id IN (SELECT port_id FROM allocations WHERE network_id = ? AND address = ?)", networkID, a.String()))
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}
