package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Services lists all services by id.
func (s *Store) Services(ctx context.Context) ([]compute.Service, error) {
	return db.Select[compute.Service](ctx, s.db, "SELECT * FROM services ORDER BY id")
}

// Seen notes a sign of life of a service, adding it when it is new.
func (s *Store) Seen(ctx context.Context, host, binary string, at time.Time) error {
	w := db.Where().Eq("host", host).Eq("service_binary", binary)
	n, err := db.Update(ctx, s.db, "services", db.Set{"seen_at": at, "updated_at": at}, w)
	if err != nil || n > 0 {
		return err
	}
	_, err = db.Exec(ctx, s.db, "INSERT INTO services (uuid, host, service_binary, disabled, forced_down, seen_at, updated_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		uuid.NewString(), host, binary, false, false, at, at, at)
	if db.IsUnique(err) {
		return nil // two at once: the other one added it
	}
	return err
}

// Beat notes a sign of life of a service that was up, as one change of a row.
// It is false for a service that is unknown, was silent since alive or is
// forced down: see Seen.
func (s *Store) Beat(ctx context.Context, host, binary string, at, alive time.Time) (bool, error) {
	w := db.Where().Eq("host", host).Eq("service_binary", binary).Eq("forced_down", false).Raw("seen_at >= ?", alive)
	n, err := db.Update(ctx, s.db, "services", db.Set{"seen_at": at, "updated_at": at}, w)
	return n > 0, err
}

// Service returns a service by its UUID.
func (s *Store) Service(ctx context.Context, id string) (*compute.Service, error) {
	v, err := db.Get[compute.Service](ctx, s.db, "SELECT * FROM services WHERE uuid = ?", id)
	return found(v, err, "Compute service", id)
}

// ServiceOn returns a host's service.
func (s *Store) ServiceOn(ctx context.Context, host, binary string) (*compute.Service, error) {
	v, err := db.Get[compute.Service](ctx, s.db, "SELECT * FROM services WHERE host = ? AND service_binary = ?", host, binary)
	return found(v, err, "Compute host", host)
}

// UpdateService sets columns of a service.
func (s *Store) UpdateService(ctx context.Context, id string, set db.Set) error {
	set["updated_at"] = db.Now()
	n, err := db.Update(ctx, s.db, "services", set, db.Where().Eq("uuid", id))
	if err == nil && n == 0 {
		return fault.Missing("Compute service", id)
	}
	return err
}

// DeleteService removes a service and, for an agent, its node.
func (s *Store) DeleteService(ctx context.Context, v *compute.Service) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if _, err := db.Delete(ctx, s.db, "services", db.Where().Eq("uuid", v.UUID)); err != nil {
			return err
		}
		if v.Binary != compute.BinaryCompute {
			return nil
		}
		if _, err := db.Delete(ctx, s.db, "aggregate_hosts", db.Where().Eq("host", v.Host)); err != nil {
			return err
		}
		_, err := db.Delete(ctx, s.db, "nodes", db.Where().Eq("host", v.Host))
		return err
	})
}

type nodeRow struct {
	compute.Node
	InventoryJ db.JSON[compute.Inventory] `db:"inventory"`
}

func (r *nodeRow) node() compute.Node {
	n := r.Node
	n.Inventory = r.InventoryJ.V
	return n
}

// Nodes lists all hypervisors by id.
func (s *Store) Nodes(ctx context.Context) ([]compute.Node, error) {
	rows, err := db.Select[nodeRow](ctx, s.db, "SELECT * FROM nodes ORDER BY id")
	out := make([]compute.Node, len(rows))
	for i := range rows {
		out[i] = rows[i].node()
	}
	return out, err
}

// NodeByName returns a hypervisor by its name.
func (s *Store) NodeByName(ctx context.Context, name string) (*compute.Node, error) {
	r, err := db.Get[nodeRow](ctx, s.db, "SELECT * FROM nodes WHERE name = ?", name)
	if r, err = found(r, err, "Compute host", name); err != nil {
		return nil, err
	}
	n := r.node()
	return &n, nil
}

// SaveNode adds a hypervisor or changes what is known of it, and returns it.
func (s *Store) SaveNode(ctx context.Context, host, name, bootID string, inv compute.Inventory, synced bool) (*compute.Node, error) {
	now := db.Now()
	n, err := db.Update(ctx, s.db, "nodes", db.Set{"host": host, "boot_id": bootID, "inventory": db.J(inv), "synced": synced, "updated_at": now},
		db.Where().Eq("name", name))
	if err != nil {
		return nil, err
	}
	if n == 0 {
		_, err = db.Exec(ctx, s.db, "INSERT INTO nodes (uuid, host, name, boot_id, synced, created_at, updated_at, inventory) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			uuid.NewString(), host, name, bootID, synced, now, now, db.J(inv))
		if err != nil && !db.IsUnique(err) {
			return nil, err
		}
	}
	return s.NodeByName(ctx, name)
}

// NodeSynced notes that placement has a hypervisor's inventory.
func (s *Store) NodeSynced(ctx context.Context, id string) error {
	_, err := db.Update(ctx, s.db, "nodes", db.Set{"synced": true}, db.Where().Eq("uuid", id))
	return err
}

// HostUsage is what the servers of a host take.
type HostUsage struct {
	Host     string `db:"host"`
	Servers  int    `db:"servers"`
	VCPUs    int    `db:"vcpus"`
	MemoryMB int    `db:"memory_mb"`
	DiskGB   int    `db:"disk_gb"`
}

// HostUsages sums up the servers of all hosts by host.
func (s *Store) HostUsages(ctx context.Context) (map[string]HostUsage, error) {
	rows, err := db.Select[HostUsage](ctx, s.db, `SELECT host, count(*) AS servers, COALESCE(sum(vcpus), 0) AS vcpus,
		COALESCE(sum(memory_mb), 0) AS memory_mb, COALESCE(sum(root_gb + ephemeral_gb), 0) AS disk_gb
		FROM servers WHERE host <> '' GROUP BY host`)
	out := make(map[string]HostUsage, len(rows))
	for _, r := range rows {
		out[r.Host] = r
	}
	return out, err
}

// Workload is how many servers of each host are being worked on.
func (s *Store) Workload(ctx context.Context) (map[string]int, error) {
	type row struct {
		Host string `db:"host"`
		N    int    `db:"n"`
	}
	rows, err := db.Select[row](ctx, s.db, "SELECT host, count(*) AS n FROM servers WHERE host <> '' AND task_state <> '' GROUP BY host")
	out := make(map[string]int, len(rows))
	for _, r := range rows {
		out[r.Host] = r.N
	}
	return out, err
}
