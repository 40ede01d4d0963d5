package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// orderRow is an order to make a server's guest.
type orderRow struct {
	ServerID string `db:"server_id"`
	Host     string `db:"host"`
	OrderID  string `db:"order_id"`
	Taken    bool   `db:"taken"`
}

// IssueOrder writes down that a host is to make a server's guest; earlier
// orders for it are void. It is fault.Conflict while another host may have the
// guest.
func (s *Store) IssueOrder(ctx context.Context, serverID, host, order string) error {
	n, err := db.Update(ctx, s.db, "spawn_orders", db.Set{"order_id": order}, db.Where().Eq("server_id", serverID).Eq("host", host))
	if err != nil || n > 0 {
		return err
	}
	n, err = db.Update(ctx, s.db, "spawn_orders", db.Set{"order_id": order, "host": host}, db.Where().Eq("server_id", serverID).Eq("taken", false))
	if err != nil || n > 0 {
		return err
	}
	err = db.Insert(ctx, s.db, "spawn_orders", orderRow{serverID, host, order, false})
	if db.IsUnique(err) {
		return fault.Conflictf("Another host may still have the server.")
	}
	return err
}

// TakeOrder is what a host does before it makes a guest: from then on the order
// cannot be revoked. It reports whether the order holds. It may be repeated.
func (s *Store) TakeOrder(ctx context.Context, serverID, host, order string) (bool, error) {
	w := db.Where().Eq("server_id", serverID).Eq("host", host).Eq("order_id", order).
		Raw("EXISTS (SELECT 1 FROM servers WHERE id = ? AND host = ? AND task_state <> ?)", serverID, host, compute.TaskDeleting)
	n, err := db.Update(ctx, s.db, "spawn_orders", db.Set{"taken": true}, w)
	return n > 0, err
}

// RevokeOrder takes back an order that the host has not begun, and reports
// whether the host surely has no guest by it.
func (s *Store) RevokeOrder(ctx context.Context, serverID, host string) (bool, error) {
	_, err := db.Delete(ctx, s.db, "spawn_orders", db.Where().Eq("server_id", serverID).Eq("host", host).Eq("taken", false))
	if err != nil {
		return false, err
	}
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM spawn_orders WHERE server_id = ? AND host = ?", serverID, host)
	return n == 0, err
}

// DropOrder forgets the order for a guest that is gone from its host, or whose
// host is dead.
func (s *Store) DropOrder(ctx context.Context, serverID, host string) error {
	_, err := db.Delete(ctx, s.db, "spawn_orders", db.Where().Eq("server_id", serverID).Eq("host", host))
	return err
}
