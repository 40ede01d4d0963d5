package store

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Enrolled is a node with what tells a repeated join from another's.
type Enrolled struct {
	cluster.Node
	TokenID   string // by which it joined; "" for the first node
	KeyDigest string
}

type nodeRow struct {
	Name       string    `db:"name"`
	Roles      string    `db:"roles"`
	Management string    `db:"management"`
	Storage    string    `db:"storage_address"`
	Service    string    `db:"service_address"`
	Version    string    `db:"version"`
	TokenID    string    `db:"token_id"`
	KeyDigest  string    `db:"key_digest"`
	Joined     time.Time `db:"joined_at"`
	Seen       time.Time `db:"seen_at"`
	Revoked    bool      `db:"revoked"`
}

func joinRoles(roles []cluster.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ",")
}

func splitRoles(text string) []cluster.Role {
	var out []cluster.Role
	for name := range strings.SplitSeq(text, ",") {
		if name != "" {
			out = append(out, cluster.Role(name))
		}
	}
	return out
}

func address(text string) netip.Addr {
	a, _ := netip.ParseAddr(text) // what is empty is the zero address
	return a
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func rowOf(n Enrolled) nodeRow {
	return nodeRow{
		Name: n.Name, Roles: joinRoles(n.Roles), Management: addressText(n.Management), Storage: addressText(n.Storage), Service: addressText(n.Service),
		Version: n.Version, TokenID: n.TokenID, KeyDigest: n.KeyDigest, Joined: n.Joined, Seen: n.Seen, Revoked: n.Revoked,
	}
}

func (r nodeRow) node() Enrolled {
	return Enrolled{
		Node: cluster.Node{
			Name: r.Name, Roles: splitRoles(r.Roles), Management: address(r.Management), Storage: address(r.Storage), Service: address(r.Service),
			Version: r.Version, Joined: r.Joined, Seen: r.Seen, Revoked: r.Revoked,
		},
		TokenID: r.TokenID, KeyDigest: r.KeyDigest,
	}
}

// Nodes returns all nodes by name, removed ones included.
func (s *Store) Nodes(ctx context.Context) ([]cluster.Node, error) {
	rows, err := db.SelectPage[nodeRow](ctx, s.db, "nodes", db.Where(), db.Page{Limit: MaxList, ID: "name"})
	if err != nil {
		return nil, err
	}
	out := make([]cluster.Node, len(rows))
	for i, r := range rows {
		out[i] = r.node().Node
	}
	return out, nil
}

// Node returns one node; fault.NotFound.
func (s *Store) Node(ctx context.Context, name string) (*Enrolled, error) {
	r, err := db.Get[nodeRow](ctx, s.db, "SELECT "+db.Columns[nodeRow]("")+" FROM nodes WHERE name = ?", name)
	if err != nil {
		return nil, missing(err, "Node", name)
	}
	n := r.node()
	return &n, nil
}

// CreateNode adds a node; a name or an address that another node of the cloud
// has is fault.Conflict.
func (s *Store) CreateNode(ctx context.Context, n Enrolled) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		err := db.Insert(ctx, s.db, "nodes", rowOf(n))
		if db.IsUnique(err) {
			return fault.Wrap(fault.Conflict, err, "A node with the name %s is part of the cloud.", n.Name)
		}
		if err != nil {
			return err
		}
		return s.take(ctx, n.Node)
	})
}

// UpdateNode changes the place in the cloud of a node that is (again) part of
// it; an address that another node has is fault.Conflict.
func (s *Store) UpdateNode(ctx context.Context, n Enrolled) error {
	r := rowOf(n)
	return s.db.Tx(ctx, func(ctx context.Context) error {
		_, err := db.Update(ctx, s.db, "nodes", db.Set{
			"roles": r.Roles, "management": r.Management, "storage_address": r.Storage, "service_address": r.Service, "version": r.Version,
			"token_id": r.TokenID, "key_digest": r.KeyDigest, "joined_at": r.Joined, "seen_at": r.Seen, "revoked": r.Revoked,
		}, db.Where().Eq("name", n.Name))
		if err != nil {
			return err
		}
		return s.take(ctx, n.Node)
	})
}

// Seen notes a node's heartbeat. A node that is not (or no longer) of the
// cloud is fault.NotFound.
func (s *Store) Seen(ctx context.Context, name, version string, at time.Time) error {
	n, err := db.Update(ctx, s.db, "nodes", db.Set{"seen_at": at, "version": version}, db.Where().Eq("name", name).Eq("revoked", false))
	if err == nil && n == 0 {
		return fault.Missing("Node", name)
	}
	return err
}

// Revoke removes a node from the cloud: its certificates are gone, its
// addresses are free for others. It may be repeated; an unknown name is fault.NotFound.
func (s *Store) Revoke(ctx context.Context, name string) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		n, err := db.Update(ctx, s.db, "nodes", db.Set{"revoked": true, "key_digest": "", "token_id": ""}, db.Where().Eq("name", name))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.Missing("Node", name)
		}
		if err := s.leave(ctx, name); err != nil {
			return err
		}
		_, err = db.Exec(ctx, s.db, "DELETE FROM certificates WHERE node = ?", name)
		return err
	})
}

type certificateRow struct {
	Serial  string    `db:"serial"`
	Node    string    `db:"node"`
	Expires time.Time `db:"expires_at"`
}

// AddCertificate makes a certificate one that is accepted.
func (s *Store) AddCertificate(ctx context.Context, serial, node string, expires time.Time) error {
	return db.Insert(ctx, s.db, "certificates", certificateRow{serial, node, expires})
}

// Certificates maps the serials of all certificates that are accepted to
// their nodes.
func (s *Store) Certificates(ctx context.Context) (map[string]string, error) {
	rows, err := db.Select[certificateRow](ctx, s.db, "SELECT serial, node, expires_at FROM certificates ORDER BY serial")
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(rows))
	for _, r := range rows {
		out[r.Serial] = r.Node
	}
	return out, nil
}

// KeepCertificates removes all but the last n certificates of a node.
func (s *Store) KeepCertificates(ctx context.Context, node string, n int) error {
	rows, err := db.Select[certificateRow](ctx, s.db, "SELECT serial, node, expires_at FROM certificates WHERE node = ? ORDER BY expires_at DESC, serial", node)
	if err != nil {
		return err
	}
	for len(rows) > n {
		if _, err := db.Exec(ctx, s.db, "DELETE FROM certificates WHERE serial = ?", rows[len(rows)-1].Serial); err != nil {
			return err
		}
		rows = rows[:len(rows)-1]
	}
	return nil
}
