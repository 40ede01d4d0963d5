package store

import (
	"net/netip"
	"os"
	"testing"
	"testing/fstest"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

// TestAddressesFromBefore: what nodes had before it was kept apart is theirs,
// even where two have the same.
func TestAddressesFromBefore(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		first, err := os.ReadFile("migrations/0001_initial.sql")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Migrate(ctx, "cluster", fstest.MapFS{"0001_initial.sql": {Data: first}}); err != nil {
			t.Fatal(err)
		}
		node := func(name, management, storage string) Enrolled {
			return Enrolled{Node: cluster.Node{Name: name, Management: address(management), Storage: address(storage), Joined: db.Now(), Seen: db.Now()}}
		}
		gone := node("gone", "10.0.0.3", "")
		gone.Revoked = true
		for _, n := range []Enrolled{node("h1", "10.0.0.1", "10.1.0.1"), node("h2", "10.0.0.2", "10.0.0.2"), node("twin", "10.0.0.2", ""), gone} {
			if err := db.Insert(ctx, d, "nodes", rowOf(n)); err != nil {
				t.Fatal(err)
			}
		}
		s, err := New(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, taken := range []string{"10.0.0.1", "10.1.0.1", "10.0.0.2"} {
			if err := s.CreateNode(ctx, node("new", "10.0.0.9", taken)); !fault.Is(err, fault.Conflict) {
				t.Errorf("%s: %v", taken, err)
			}
		}
		if err := s.CreateNode(ctx, node("new", "10.0.0.3", "")); err != nil {
			t.Errorf("an address of a removed node: %v", err)
		}
		h1 := node("h1", "10.0.0.1", "")
		h1.Service = netip.MustParseAddr("10.2.0.1")
		if err := s.UpdateNode(ctx, h1); err != nil {
			t.Errorf("a node from before: %v", err)
		}
	})
}
