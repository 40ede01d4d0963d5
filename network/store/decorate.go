package store

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
)

// chunk bounds the ids of one IN list.
const chunk = 500

// byIDs runs f over ids in chunks.
func byIDs(ids []string, f func(ids []string) error) error {
	for part := range slices.Chunk(ids, chunk) {
		if err := f(part); err != nil {
			return err
		}
	}
	return nil
}

// decorate fills in what belongs to the rows and lives in other tables, with
// one query per table.
func decorate[T any, P network.Row[T]](ctx context.Context, s *Store, sc network.Scope, list []T) error {
	if len(list) == 0 {
		return nil
	}
	k := KindOf[T, P]()
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = P(&list[i]).Std().ID
	}
	if k.Tagged {
		tags, err := s.tagsOf(ctx, ids)
		if err != nil {
			return err
		}
		for i := range list {
			std := P(&list[i]).Std()
			std.Tags = tags[std.ID]
		}
	}
	shared := map[string]bool{}
	if k.Shared {
		var err error
		if shared, err = s.sharedOf(ctx, sc, ids); err != nil {
			return err
		}
	}
	switch rows := any(list).(type) {
	case []network.Network:
		return s.decorateNetworks(ctx, rows, ids, shared)
	case []network.Subnet:
		return s.decorateSubnets(ctx, sc, rows)
	case []network.Port:
		return s.decoratePorts(ctx, rows, ids)
	case []network.Router:
		return s.decorateRouters(ctx, rows)
	case []network.FloatingIP:
		return s.decorateFloatingIPs(ctx, rows)
	case []network.SecurityGroup:
		return s.decorateGroups(ctx, rows, ids, shared)
	case []network.SecurityGroupRule:
		return s.decorateRules(ctx, rows)
	case []network.SubnetPool:
		for i := range rows {
			rows[i].Shared = shared[rows[i].ID]
		}
	case []network.AddressScope:
		for i := range rows {
			rows[i].Shared = shared[rows[i].ID]
		}
	case []network.AddressGroup:
		for i := range rows {
			rows[i].Shared = shared[rows[i].ID]
		}
	case []network.Flavor:
		return s.decorateFlavors(ctx, rows, ids)
	}
	return nil
}

type pair struct {
	A string `db:"a"`
	B string `db:"b"`
}

// pairs runs a query of two columns named a and b that ends in an IN list.
func (s *Store) pairs(ctx context.Context, query, tail string, ids []string) (map[string][]string, error) {
	out := map[string][]string{}
	err := byIDs(ids, func(ids []string) error {
		rows, err := db.Select[pair](ctx, s.db, query+" IN ("+marks(len(ids))+")"+tail, anys(ids)...)
		for _, r := range rows {
			out[r.A] = append(out[r.A], r.B)
		}
		return err
	})
	return out, err
}

func (s *Store) tagsOf(ctx context.Context, ids []string) (map[string][]string, error) {
	return s.pairs(ctx, "SELECT resource_id AS a, tag AS b FROM tags WHERE resource_id", " ORDER BY tag", ids)
}

// sharedOf tells which objects are shared with all or with the scope's project.
func (s *Store) sharedOf(ctx context.Context, sc network.Scope, ids []string) (map[string]bool, error) {
	out := map[string]bool{}
	targets := sharedTargets(sc)
	err := byIDs(ids, func(ids []string) error {
		args := append(anys(ids), network.ActionShared)
		rows, err := db.Select[string](ctx, s.db, "SELECT object_id FROM rbac_policies WHERE object_id IN ("+marks(len(ids))+") AND action = ? AND target_project IN ("+marks(len(targets))+")", append(args, targets...)...)
		for _, id := range rows {
			out[id] = true
		}
		return err
	})
	return out, err
}

func (s *Store) decorateNetworks(ctx context.Context, rows []network.Network, ids []string, shared map[string]bool) error {
	subnets, err := s.pairs(ctx, "SELECT network_id AS a, id AS b FROM subnets WHERE network_id", " ORDER BY created_at, id", ids)
	if err != nil {
		return err
	}
	scopes := map[string]map[int]string{}
	err = byIDs(ids, func(ids []string) error {
		type row struct {
			NetworkID string `db:"network_id"`
			Version   int    `db:"ip_version"`
			Scope     string `db:"address_scope_id"`
		}
		list, err := db.Select[row](ctx, s.db, "SELECT s.network_id, s.ip_version, p.address_scope_id FROM subnets s JOIN subnetpools p ON p.id = s.subnetpool_id WHERE p.address_scope_id IS NOT NULL AND s.network_id IN ("+marks(len(ids))+")", anys(ids)...)
		for _, r := range list {
			if scopes[r.NetworkID] == nil {
				scopes[r.NetworkID] = map[int]string{}
			}
			scopes[r.NetworkID][r.Version] = r.Scope
		}
		return err
	})
	for i := range rows {
		n := &rows[i]
		n.SubnetIDs, n.Shared, n.L2Adj = subnets[n.ID], shared[n.ID], true
		for v, id := range scopes[n.ID] {
			if v == 4 {
				n.V4Scope = &id
			} else {
				n.V6Scope = &id
			}
		}
	}
	return err
}

func (s *Store) decorateSubnets(ctx context.Context, sc network.Scope, rows []network.Subnet) error {
	var nets []string
	for i := range rows {
		if !slices.Contains(nets, rows[i].NetworkID) {
			nets = append(nets, rows[i].NetworkID)
		}
	}
	shared, err := s.sharedOf(ctx, sc, nets)
	if err != nil {
		return err
	}
	external := map[string]bool{}
	err = byIDs(nets, func(ids []string) error {
		list, err := db.Select[string](ctx, s.db, "SELECT id FROM networks WHERE external = ? AND id IN ("+marks(len(ids))+")", append([]any{true}, anys(ids)...)...)
		for _, id := range list {
			external[id] = true
		}
		return err
	})
	for i := range rows {
		rows[i].Shared, rows[i].External = shared[rows[i].NetworkID], external[rows[i].NetworkID]
	}
	return err
}

func (s *Store) decoratePorts(ctx context.Context, rows []network.Port, ids []string) error {
	groups, err := s.pairs(ctx, "SELECT port_id AS a, group_id AS b FROM port_security_groups WHERE port_id", " ORDER BY group_id", ids)
	if err != nil {
		return err
	}
	ips, err := s.fixedIPs(ctx, ids)
	for i := range rows {
		p := &rows[i]
		p.FixedIPs, p.Groups = ips[p.ID], groups[p.ID]
	}
	return err
}

func (s *Store) fixedIPs(ctx context.Context, ports []string) (map[string][]network.FixedIP, error) {
	out := map[string][]network.FixedIP{}
	err := byIDs(ports, func(ids []string) error {
		list, err := db.Select[network.Allocation](ctx, s.db, "SELECT * FROM allocations WHERE port_id IN ("+marks(len(ids))+") ORDER BY port_id, position_no", anys(ids)...)
		for _, a := range list {
			out[a.PortID] = append(out[a.PortID], network.FixedIP{SubnetID: a.SubnetID, Address: a.Address})
		}
		return err
	})
	return out, err
}

func (s *Store) decorateRouters(ctx context.Context, rows []network.Router) error {
	var ports []string
	for i := range rows {
		if rows[i].GatewayPort != nil {
			ports = append(ports, *rows[i].GatewayPort)
		}
	}
	nets, err := s.pairs(ctx, "SELECT id AS a, network_id AS b FROM ports WHERE id", "", ports)
	if err != nil {
		return err
	}
	ips, err := s.fixedIPs(ctx, ports)
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		if r.GatewayPort == nil || len(nets[*r.GatewayPort]) == 0 {
			continue
		}
		snat := r.EnableSNAT
		r.Gateway = &network.GatewayInfo{NetworkID: nets[*r.GatewayPort][0], FixedIPs: ips[*r.GatewayPort], EnableSNAT: &snat}
	}
	return nil
}

func (s *Store) decorateFloatingIPs(ctx context.Context, rows []network.FloatingIP) error {
	var ids []string
	for i := range rows {
		if rows[i].PortID != nil {
			ids = append(ids, *rows[i].PortID)
		}
	}
	byID := map[string]*network.PortDetail{}
	err := byIDs(ids, func(ids []string) error {
		list, err := db.Select[network.Port](ctx, s.db, "SELECT "+db.Columns[network.Port]("")+" FROM ports WHERE id IN ("+marks(len(ids))+")", anys(ids)...)
		for _, p := range list {
			byID[p.ID] = &network.PortDetail{Name: p.Name, NetworkID: p.NetworkID, MAC: p.MAC, AdminStateUp: p.AdminStateUp, Status: p.Status, DeviceID: p.DeviceID, DeviceOwner: p.DeviceOwner}
		}
		return err
	})
	for i := range rows {
		if rows[i].PortID != nil {
			rows[i].Details = byID[*rows[i].PortID]
		}
	}
	return err
}

func (s *Store) decorateGroups(ctx context.Context, rows []network.SecurityGroup, ids []string, shared map[string]bool) error {
	byGroup := map[string][]network.SecurityGroupRule{}
	err := byIDs(ids, func(ids []string) error {
		list, err := db.Select[network.SecurityGroupRule](ctx, s.db, "SELECT "+db.Columns[network.SecurityGroupRule]("")+" FROM security_group_rules WHERE security_group_id IN ("+marks(len(ids))+") ORDER BY created_at, id", anys(ids)...)
		for _, r := range list {
			normalizeRule(&r)
			byGroup[r.GroupID] = append(byGroup[r.GroupID], r)
		}
		return err
	})
	for i := range rows {
		g := &rows[i]
		g.Rules, g.Shared = byGroup[g.ID], shared[g.ID]
		for n := range g.Rules {
			g.Rules[n].BelongsDefault = g.IsDefault
		}
	}
	return err
}

func normalizeRule(r *network.SecurityGroupRule) {
	if r.RemoteIP == nil {
		return
	}
	if p, err := network.ParsePrefix(*r.RemoteIP); err == nil {
		s := p.String()
		r.NormalizedCIDR = &s
	}
}

func (s *Store) decorateRules(ctx context.Context, rows []network.SecurityGroupRule) error {
	var groups []string
	for i := range rows {
		normalizeRule(&rows[i])
		if !slices.Contains(groups, rows[i].GroupID) {
			groups = append(groups, rows[i].GroupID)
		}
	}
	defaults := map[string]bool{}
	err := byIDs(groups, func(ids []string) error {
		list, err := db.Select[string](ctx, s.db, "SELECT group_id FROM default_security_groups WHERE group_id IN ("+marks(len(ids))+")", anys(ids)...)
		for _, id := range list {
			defaults[id] = true
		}
		return err
	})
	for i := range rows {
		rows[i].BelongsDefault = defaults[rows[i].GroupID]
	}
	return err
}

func (s *Store) decorateFlavors(ctx context.Context, rows []network.Flavor, ids []string) error {
	profiles, err := s.pairs(ctx, "SELECT flavor_id AS a, profile_id AS b FROM flavor_profiles WHERE flavor_id", " ORDER BY profile_id", ids)
	for i := range rows {
		rows[i].Profiles = profiles[rows[i].ID]
	}
	return err
}
