package store

import (
	"context"
	"net/netip"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
)

// Allocate gives an address to a port. When another port has it, the error
// is a violated unique key (db.IsUnique).
func (s *Store) Allocate(ctx context.Context, a network.Allocation) error {
	return db.Insert(ctx, s.db, "allocations", a)
}

// Release takes one of a port's addresses back.
func (s *Store) Release(ctx context.Context, port, subnet, address string) error {
	_, err := db.Delete(ctx, s.db, "allocations", db.Where().Eq("port_id", port).Eq("subnet_id", subnet).Eq("address", address))
	return err
}

// ReleaseAll takes all addresses of a port back.
func (s *Store) ReleaseAll(ctx context.Context, port string) error {
	_, err := db.Delete(ctx, s.db, "allocations", db.Where().Eq("port_id", port))
	return err
}

// Reposition writes the order of a port's addresses.
func (s *Store) Reposition(ctx context.Context, port, subnet, address string, position int) error {
	_, err := db.Update(ctx, s.db, "allocations", db.Set{"position_no": position}, db.Where().Eq("port_id", port).Eq("subnet_id", subnet).Eq("address", address))
	return err
}

// Taken tells which of the candidates are given out; without candidates, all
// addresses of the subnet that are.
func (s *Store) Taken(ctx context.Context, subnet string, candidates []netip.Addr) (map[netip.Addr]bool, error) {
	w := db.Where().Eq("subnet_id", subnet)
	if len(candidates) > 0 {
		text := make([]string, len(candidates))
		for i, c := range candidates {
			text[i] = c.String()
		}
		w.In("address", text)
	}
	where, args := w.SQL()
	rows, err := db.Select[string](ctx, s.db, "SELECT address FROM allocations"+where, args...)
	out := make(map[netip.Addr]bool, len(rows))
	for _, r := range rows {
		if a, err := netip.ParseAddr(r); err == nil {
			out[a] = true
		}
	}
	return out, err
}

// SetGroups replaces a port's security groups.
func (s *Store) SetGroups(ctx context.Context, port string, groups []string) error {
	if _, err := db.Delete(ctx, s.db, "port_security_groups", db.Where().Eq("port_id", port)); err != nil {
		return err
	}
	for _, g := range groups {
		row := struct {
			Port  string `db:"port_id"`
			Group string `db:"group_id"`
		}{port, g}
		if err := db.Insert(ctx, s.db, "port_security_groups", row); err != nil {
			return err
		}
	}
	return nil
}

// GroupPorts counts the ports that have a security group.
func (s *Store) GroupPorts(ctx context.Context, group string) (int, error) {
	return db.Count(ctx, s.db, "SELECT COUNT(*) FROM port_security_groups WHERE group_id = ?", group)
}

// PortsOf returns ports by condition.
func (s *Store) PortsOf(ctx context.Context, w *db.Cond) ([]network.Port, error) {
	return Select[network.Port](ctx, s, w)
}

// SetPortStatus changes a port's status and tells whether it differed. It
// doesn't count as a change by the user: the revision stays.
func (s *Store) SetPortStatus(ctx context.Context, id, status string) (bool, error) {
	n, err := db.Update(ctx, s.db, "ports", db.Set{"status": status}, db.ByID(id).Ne("status", status))
	if err != nil || n == 0 {
		return false, err
	}
	return true, s.tellPort(ctx, id, status)
}

// DefaultGroup returns the id of a project's default security group, or "".
func (s *Store) DefaultGroup(ctx context.Context, project string) (string, error) {
	ids, err := db.Select[string](ctx, s.db, "SELECT group_id FROM default_security_groups WHERE project_id = ?", project)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

// SetDefaultGroup notes a project's default security group, once.
func (s *Store) SetDefaultGroup(ctx context.Context, project, group string) error {
	row := struct {
		Project string `db:"project_id"`
		Group   string `db:"group_id"`
	}{project, group}
	return db.Insert(ctx, s.db, "default_security_groups", row)
}

// ForgetDefaultGroup removes the note.
func (s *Store) ForgetDefaultGroup(ctx context.Context, group string) error {
	_, err := db.Delete(ctx, s.db, "default_security_groups", db.Where().Eq("group_id", group))
	return err
}

// ClearGateway takes the gateway port off a router's row.
func (s *Store) ClearGateway(ctx context.Context, router string) error {
	_, err := db.Update(ctx, s.db, "routers", db.Set{"gateway_port_id": nil}, db.ByID(router))
	return err
}
