package manager

import (
	"context"
	"net/netip"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// Owners returns the projects of networks, by id; for policies that ask
// whose network a port or subnet is on.
func (m *Manager) Owners(ctx context.Context, networks []string) (map[string]network.Network, error) {
	seen := map[string]bool{}
	var ids []string
	for _, id := range networks {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	out := map[string]network.Network{}
	for len(ids) > 0 {
		n := min(len(ids), 500)
		list, err := store.Select[network.Network](ctx, m.store, db.Where().In("id", ids[:n]))
		if err != nil {
			return nil, err
		}
		for i := range list {
			out[list[i].ID] = list[i]
		}
		ids = ids[n:]
	}
	return out, nil
}

// Assignments are the names that DNS has for a port's addresses.
func (m *Manager) Assignments(p *network.Port) network.List[network.DNSAssignment] {
	domain := strings.TrimSuffix(m.conf.DNSDomain, ".")
	out := network.List[network.DNSAssignment]{}
	for _, f := range p.FixedIPs {
		name := p.DNSName
		if name == "" {
			a, err := netip.ParseAddr(f.Address)
			if err != nil {
				continue
			}
			name = "host-" + strings.NewReplacer(".", "-", ":", "-").Replace(a.StringExpanded())
		}
		fqdn := name
		if !strings.HasSuffix(fqdn, ".") {
			fqdn += "." + domain + "."
		}
		out = append(out, network.DNSAssignment{Address: f.Address, Hostname: strings.TrimSuffix(name, "."), FQDN: fqdn})
	}
	return out
}
