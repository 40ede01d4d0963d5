package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Metadata returns the metadata of servers by server id.
func (s *Store) Metadata(ctx context.Context, ids []string) (map[string]map[string]string, error) {
	return pairs(ctx, s.db, "server_metadata", "server_id", db.Where().In("server_id", ids))
}

type metadataRow struct {
	ServerID string `db:"server_id"`
	Name     string `db:"name"`
	Value    string `db:"text_value"`
}

// SetMetadata merges items into a server's metadata, or replaces it, and
// refuses more than limit items.
func (s *Store) SetMetadata(ctx context.Context, id string, items map[string]string, replace bool, limit int) (map[string]string, error) {
	out := map[string]string{}
	err := s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.touch(ctx, id); err != nil {
			return err
		}
		if replace {
			if _, err := db.Delete(ctx, s.db, "server_metadata", db.Where().Eq("server_id", id)); err != nil {
				return err
			}
		}
		for k, v := range items {
			if err := db.Upsert(ctx, s.db, "server_metadata", metadataRow{id, k, v}, "server_id", "name"); err != nil {
				return err
			}
		}
		all, err := s.Metadata(ctx, []string{id})
		if err != nil {
			return err
		}
		if all[id] != nil {
			out = all[id]
		}
		if limit >= 0 && len(out) > limit {
			return fault.OverQuotaf("Maximum number of metadata items exceeds %d", limit)
		}
		return nil
	})
	return out, err
}

// touch locks a server's row against changes of what hangs on it, and marks it
// as changed.
func (s *Store) touch(ctx context.Context, id string) error {
	n, err := db.Update(ctx, s.db, "servers", db.Set{"updated_at": db.Now()}, db.ByID(id))
	if err == nil && n == 0 {
		return fault.Missing("Instance", id)
	}
	return err
}

// DeleteMetadata removes one item.
func (s *Store) DeleteMetadata(ctx context.Context, id, name string) error {
	n, err := db.Delete(ctx, s.db, "server_metadata", db.Where().Eq("server_id", id).Eq("name", name))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Metadata item was not found")
	}
	return err
}

type tagRow struct {
	ServerID string `db:"server_id"`
	Tag      string `db:"tag"`
}

// Tags returns the tags of servers by server id, each list sorted.
func (s *Store) Tags(ctx context.Context, ids []string) (map[string][]string, error) {
	where, args := db.Where().In("server_id", ids).SQL()
	rows, err := db.Select[tagRow](ctx, s.db, "SELECT server_id, tag FROM server_tags"+where+" ORDER BY tag", args...)
	out := map[string][]string{}
	for _, r := range rows {
		out[r.ServerID] = append(out[r.ServerID], r.Tag)
	}
	return out, err
}

// SetTags replaces a server's tags.
func (s *Store) SetTags(ctx context.Context, id string, tags []string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.touch(ctx, id); err != nil {
			return err
		}
		if _, err := db.Delete(ctx, s.db, "server_tags", db.Where().Eq("server_id", id)); err != nil {
			return err
		}
		for _, t := range tags {
			if err := db.Upsert(ctx, s.db, "server_tags", tagRow{id, t}, "server_id", "tag"); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddTag adds one tag and reports whether it is new.
func (s *Store) AddTag(ctx context.Context, id, tag string) (added bool, err error) {
	err = s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.touch(ctx, id); err != nil {
			return err
		}
		tags, err := s.Tags(ctx, []string{id})
		if err != nil {
			return err
		}
		for _, t := range tags[id] {
			if t == tag {
				added = false
				return nil
			}
		}
		if len(tags[id]) >= compute.MaxTags {
			return fault.Invalidf("The number of tags exceeded the per-server limit %d", compute.MaxTags)
		}
		added = true
		return db.Insert(ctx, s.db, "server_tags", tagRow{id, tag})
	})
	return added, err
}

// DeleteTag removes one tag.
func (s *Store) DeleteTag(ctx context.Context, id, tag string) error {
	n, err := db.Delete(ctx, s.db, "server_tags", db.Where().Eq("server_id", id).Eq("tag", tag))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Server %s has no tag '%s'", id, tag)
	}
	return err
}

type portRow struct {
	compute.Port
	InfoJ db.JSON[compute.VIF] `db:"info"`
}

// Ports returns the port rows of servers by server id, in device order.
func (s *Store) Ports(ctx context.Context, ids []string) (map[string][]compute.Port, error) {
	where, args := db.Where().In("server_id", ids).SQL()
	rows, err := db.Select[portRow](ctx, s.db, "SELECT * FROM server_ports"+where+" ORDER BY position, id", args...)
	out := map[string][]compute.Port{}
	for _, r := range rows {
		p := r.Port
		p.Info = r.InfoJ.V
		out[p.ServerID] = append(out[p.ServerID], p)
	}
	return out, err
}

// ServerPorts returns the port rows of one server.
func (s *Store) ServerPorts(ctx context.Context, id string) ([]compute.Port, error) {
	m, err := s.Ports(ctx, []string{id})
	return m[id], err
}

// InsertPort adds a port row.
func (s *Store) InsertPort(ctx context.Context, p *compute.Port) error {
	err := db.Insert(ctx, s.db, "server_ports", portRow{*p, db.J(p.Info)})
	if db.IsForeignKey(err) {
		return fault.Missing("Instance", p.ServerID)
	}
	return err
}

// SavePort stores what the network service made of a port; it is no error when
// the row is gone.
func (s *Store) SavePort(ctx context.Context, p *compute.Port) error {
	_, err := db.Update(ctx, s.db, "server_ports", db.Set{
		"port_id": p.PortID, "network_id": p.NetworkID, "state": p.State, "info": db.J(p.Info), "owned": p.Owned,
	}, db.ByID(p.ID))
	return err
}

// RefreshPort stores what the network service says of a port, if the row is still
// of that port and attached.
func (s *Store) RefreshPort(ctx context.Context, p *compute.Port) error {
	_, err := db.Update(ctx, s.db, "server_ports", db.Set{"network_id": p.NetworkID, "info": db.J(p.Info)},
		db.ByID(p.ID).Eq("port_id", p.PortID).Eq("state", compute.PortAttached))
	return err
}

// ChangePortState is a compare-and-swap on a port row's state.
func (s *Store) ChangePortState(ctx context.Context, id, from, to string) (bool, error) {
	n, err := db.Update(ctx, s.db, "server_ports", db.Set{"state": to}, db.ByID(id).Eq("state", from))
	return n > 0, err
}

// DeletePort removes a port row.
func (s *Store) DeletePort(ctx context.Context, id string) error {
	_, err := db.Delete(ctx, s.db, "server_ports", db.ByID(id))
	return err
}

// NextPosition is the position of a further port of a server.
func (s *Store) NextPosition(ctx context.Context, serverID string) (int, error) {
	return db.Count(ctx, s.db, "SELECT COALESCE(MAX(position), -1) + 1 FROM server_ports WHERE server_id = ?", serverID)
}
