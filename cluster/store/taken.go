package store

import (
	"context"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// takenRow is what one node has and no other may. The key makes two that join
// at the same moment unlike, wherever their requests are worked on.
type takenRow struct {
	Kind string `db:"kind"`
	What string `db:"what"`
	Node string `db:"node"`
}

const (
	takenName    = "name"
	takenAddress = "address"
)

func takenBy(n cluster.Node) []takenRow {
	rows := []takenRow{{takenName, strings.ToLower(n.Name), n.Name}}
	for _, a := range n.Addresses() {
		rows = append(rows, takenRow{takenAddress, a.String(), n.Name})
	}
	return rows
}

// take makes a node have its name and addresses, and no others, in a
// transaction; what another node has is fault.Conflict.
func (s *Store) take(ctx context.Context, n cluster.Node) error {
	have, err := db.Select[takenRow](ctx, s.db, "SELECT kind, what, node FROM taken WHERE node = ?", n.Name)
	if err != nil {
		return err
	}
	want := takenBy(n)
	for _, r := range have {
		if slices.Contains(want, r) {
			continue
		}
		if _, err := db.Exec(ctx, s.db, "DELETE FROM taken WHERE kind = ? AND what = ?", r.Kind, r.What); err != nil {
			return err
		}
	}
	for _, r := range want {
		if slices.Contains(have, r) {
			continue
		}
		err := db.Insert(ctx, s.db, "taken", r)
		switch {
		case err == nil:
		case !db.IsUnique(err):
			return err
		case r.Kind == takenName:
			return fault.Wrap(fault.Conflict, err, "A node whose name differs from %s in the case of letters alone is part of the cloud: choose another name.", n.Name)
		default:
			return fault.Wrap(fault.Conflict, err, "Another node has the address %s: give this one another with --address, --storage-address or --service-address.", r.What)
		}
	}
	return nil
}

// leave frees what a node has, for others.
func (s *Store) leave(ctx context.Context, name string) error {
	_, err := db.Exec(ctx, s.db, "DELETE FROM taken WHERE node = ?", name)
	return err
}
