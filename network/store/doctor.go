package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
)

// AllMarks returns every object that waits for the dataplane.
func (s *Store) AllMarks(ctx context.Context) ([]network.Dirty, error) {
	return db.Select[network.Dirty](ctx, s.db, "SELECT * FROM dirty ORDER BY due_at, object_id")
}

// LostFloatingIPs returns the ids of floating IPs that lead to an address that
// their port does not have, or over a router that is not there.
func (s *Store) LostFloatingIPs(ctx context.Context) ([]string, error) {
	return db.Select[string](ctx, s.db, `SELECT f.id FROM floatingips f WHERE f.port_id IS NOT NULL AND (
		NOT EXISTS (SELECT 1 FROM allocations a WHERE a.port_id = f.port_id AND a.address = f.fixed_ip_address)
		OR f.router_id IS NULL OR NOT EXISTS (SELECT 1 FROM routers r WHERE r.id = f.router_id)) ORDER BY f.id`)
}

// LostLegs returns the ids of ports of routers that are not there, and of
// floating addresses whose floating IP is gone.
func (s *Store) LostLegs(ctx context.Context) ([]string, error) {
	return db.Select[string](ctx, s.db, `SELECT p.id FROM ports p WHERE
		(p.device_owner IN (?, ?) AND NOT EXISTS (SELECT 1 FROM routers r WHERE r.id = p.device_id))
		OR (p.device_owner = ? AND NOT EXISTS (SELECT 1 FROM floatingips f WHERE f.floating_port_id = p.id)) ORDER BY p.id`,
		network.OwnerRouterInterface, network.OwnerRouterGateway, network.OwnerFloatingIP)
}
