package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
)

// All returns every row that the dataplane depends on, as of one moment.
func (s *Store) All(ctx context.Context) (*network.State, error) {
	st := network.NewState()
	err := s.db.Tx(ctx, func(ctx context.Context) error {
		st = network.NewState()
		return s.load(ctx, st, map[string]*db.Cond{
			"network": db.Where(), "subnet": db.Where(), "port": db.Where(), "router": db.Where(),
			"floatingip": db.Where(), "security_group": db.Where(), "address_group": db.Where(),
		})
	})
	return st, err
}

// load adds the rows that match the conditions by kind.
func (s *Store) load(ctx context.Context, st *network.State, by map[string]*db.Cond) error {
	for kind, w := range by {
		var err error
		switch kind {
		case "network":
			err = into(ctx, s, st.Networks, w)
		case "subnet":
			err = into(ctx, s, st.Subnets, w)
		case "port":
			err = into(ctx, s, st.Ports, w)
		case "router":
			if st.GatewayHosts, err = s.GatewayHosts(ctx); err == nil {
				err = into(ctx, s, st.Routers, w)
			}
		case "floatingip":
			err = into(ctx, s, st.FloatingIPs, w)
		case "security_group":
			err = into(ctx, s, st.SecurityGroups, w)
		case "address_group":
			err = into(ctx, s, st.AddressGroups, w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// GatewayHosts are the hosts whose agents may hold gateways, sorted; one that is
// administratively down may not.
func (s *Store) GatewayHosts(ctx context.Context) ([]string, error) {
	return db.Select[string](ctx, s.db, "SELECT host FROM agents WHERE agent_type = ? AND admin_state_up = ? ORDER BY host", network.AgentGateway, true)
}

// HostKnown says whether a host has agents.
func (s *Store) HostKnown(ctx context.Context, host string) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT COUNT(*) FROM agents WHERE host = ?", host)
	return n > 0, err
}

func into[T any, P network.Row[T]](ctx context.Context, s *Store, m map[string]*T, w *db.Cond) error {
	list, err := Select[T, P](ctx, s, w)
	for i := range list {
		m[P(&list[i]).Std().ID] = &list[i]
	}
	return err
}

// State returns an object's row with all that its wanted state depends on; an
// object without a row is missing in the answer.
func (s *Store) State(ctx context.Context, kind, id string) (*network.State, error) {
	st := network.NewState()
	one := db.ByID(id)
	netOf := func(table string) *db.Cond {
		return db.Where().Raw("network_id IN (SELECT network_id FROM "+table+" WHERE id = ?)", id)
	}
	idOf := func(table string) *db.Cond {
		return db.Where().Raw("id IN (SELECT network_id FROM "+table+" WHERE id = ?)", id)
	}
	switch kind {
	case network.DirtyNetwork:
		return st, s.load(ctx, st, map[string]*db.Cond{"network": one, "port": db.Where().Eq("network_id", id).Eq("device_owner", network.OwnerDistributed)})
	case network.DirtySubnet:
		return st, s.load(ctx, st, map[string]*db.Cond{"subnet": one, "network": idOf("subnets"), "port": netOf("subnets").Eq("device_owner", network.OwnerDistributed)})
	case network.DirtyPort:
		return st, s.load(ctx, st, map[string]*db.Cond{"port": one, "network": idOf("ports"), "subnet": netOf("ports")})
	case network.DirtySecurityGroup:
		return st, s.load(ctx, st, map[string]*db.Cond{"security_group": one})
	case network.DirtyAddressGroup:
		return st, s.load(ctx, st, map[string]*db.Cond{"address_group": one})
	case network.DirtyRouter:
		legs := "(SELECT network_id FROM ports WHERE device_id = ? AND device_owner LIKE 'network:router%')"
		return st, s.load(ctx, st, map[string]*db.Cond{
			"router": one, "port": db.Where().Eq("device_id", id).Raw("device_owner LIKE 'network:router%'"),
			"network": db.Where().Raw("id IN "+legs, id), "subnet": db.Where().Raw("network_id IN "+legs, id),
		})
	case network.DirtyFloatingIP:
		return st, s.load(ctx, st, map[string]*db.Cond{"floatingip": one, "port": db.Where().Raw("id IN (SELECT port_id FROM floatingips WHERE id = ?) OR id IN (SELECT floating_port_id FROM floatingips WHERE id = ?)", id, id)})
	}
	return st, nil
}

// ProviderAddress is an external subnet's gateway address that the host has.
type ProviderAddress struct {
	SubnetID string `db:"subnet_id"`
	Prefix   string `db:"prefix"`
}

// ProviderAddresses returns the addresses that were given to the host, by
// subnet: what has to be taken back when the subnet goes.
func (s *Store) ProviderAddresses(ctx context.Context) (map[string]string, error) {
	rows, err := db.Select[ProviderAddress](ctx, s.db, "SELECT * FROM provider_addresses")
	out := map[string]string{}
	for _, r := range rows {
		out[r.SubnetID] = r.Prefix
	}
	return out, err
}

// SetProviderAddress notes such an address before the host gets it; an empty
// prefix forgets it.
func (s *Store) SetProviderAddress(ctx context.Context, subnet, prefix string) error {
	if prefix == "" {
		_, err := db.Delete(ctx, s.db, "provider_addresses", db.Where().Eq("subnet_id", subnet))
		return err
	}
	return db.Upsert(ctx, s.db, "provider_addresses", ProviderAddress{subnet, prefix}, "subnet_id")
}
