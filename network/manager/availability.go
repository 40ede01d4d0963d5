package manager

import (
	"context"
	"math/big"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/ipam"
	"github.com/tropocloud/tropo/network/store"
)

// Availability counts the addresses of a network.
type Availability struct {
	Network network.Network
	Total   *big.Int
	Used    int
	Subnets []SubnetUse
}

// SubnetUse counts the addresses of a subnet.
type SubnetUse struct {
	Subnet network.Subnet
	Total  *big.Int
	Used   int
}

// Availabilities counts the addresses of the networks of a page.
func (m *Manager) Availabilities(ctx context.Context, q store.Query, version int) ([]Availability, error) {
	nets, err := List[network.Network](ctx, m, q)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(nets))
	for i := range nets {
		ids[i] = nets[i].ID
	}
	w := db.Where().In("network_id", ids)
	if version != 0 {
		w.Eq("ip_version", version)
	}
	subnets, err := store.Select[network.Subnet](ctx, m.store, w)
	if err != nil {
		return nil, err
	}
	sids := make([]string, len(subnets))
	for i := range subnets {
		sids[i] = subnets[i].ID
	}
	used, err := m.store.Usage(ctx, sids)
	if err != nil {
		return nil, err
	}
	out := make([]Availability, len(nets))
	at := map[string]*Availability{}
	for i := range nets {
		out[i] = Availability{Network: nets[i], Total: new(big.Int)}
		at[nets[i].ID] = &out[i]
	}
	for i := range subnets {
		s := subnets[i]
		u := SubnetUse{Subnet: s, Total: total(&s), Used: used[s.ID]}
		a := at[s.NetworkID]
		a.Total.Add(a.Total, u.Total)
		a.Used += u.Used
		a.Subnets = append(a.Subnets, u)
	}
	return out, nil
}

// total is the number of addresses in a subnet's pools, or without pools of
// its prefix.
func total(s *network.Subnet) *big.Int {
	sum := new(big.Int)
	pools := ipam.Ranges(s.Pools)
	if len(pools) == 0 {
		px := s.Prefix()
		return sum.Lsh(big.NewInt(1), uint(max(0, px.Addr().BitLen()-px.Bits())))
	}
	for _, r := range pools {
		a, b := r.Start.As16(), r.End.As16()
		n := new(big.Int).Sub(new(big.Int).SetBytes(b[:]), new(big.Int).SetBytes(a[:]))
		sum.Add(sum, n.Add(n, big.NewInt(1)))
	}
	return sum
}
