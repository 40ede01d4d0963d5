package store_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
)

func open(t *testing.T, d *db.DB) *store.Store {
	t.Helper()
	s, err := store.New(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// enrolled is a node whose addresses end with its name, a hexadecimal digit.
func enrolled(name string) store.Enrolled {
	now := db.Now()
	return store.Enrolled{Node: cluster.Node{
		Name: name, Roles: []cluster.Role{cluster.Compute, cluster.Network}, Management: netip.MustParseAddr("fd01::" + name),
		Service: netip.MustParseAddr("fd00::" + name), Joined: now, Seen: now,
	}, TokenID: "t", KeyDigest: "k"}
}

func TestNodes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, ctx := open(t, d), t.Context()
		for _, name := range []string{"b", "a"} {
			if err := s.CreateNode(ctx, enrolled(name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CreateNode(ctx, enrolled("a")); !fault.Is(err, fault.Conflict) {
			t.Errorf("twice: %v", err)
		}
		n, err := s.Node(ctx, "a")
		if err != nil || !n.Has(cluster.Network) || n.Has(cluster.Control) || n.Service != netip.MustParseAddr("fd00::a") || n.Storage.IsValid() || n.KeyDigest != "k" {
			t.Errorf("%+v, %v", n, err)
		}
		later := db.Now().Add(time.Hour)
		if err := s.Seen(ctx, "a", "v2", later); err != nil {
			t.Fatal(err)
		}
		list, err := s.Nodes(ctx)
		if err != nil || len(list) != 2 || list[0].Name != "a" || list[0].Version != "v2" || !list[0].Seen.Equal(later) {
			t.Errorf("%+v, %v", list, err)
		}
		if err := s.AddCertificate(ctx, "01", "a", later); err != nil {
			t.Fatal(err)
		}
		if err := s.Revoke(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if err := s.Revoke(ctx, "a"); err != nil {
			t.Errorf("again: %v", err)
		}
		if c, err := s.Certificates(ctx); err != nil || len(c) != 0 {
			t.Errorf("certificates of a removed node: %v, %v", c, err)
		}
		if err := s.Seen(ctx, "a", "v2", later); !fault.Is(err, fault.NotFound) {
			t.Errorf("heartbeat of a removed node: %v", err)
		}
		for _, err := range []error{s.Revoke(ctx, "x"), s.Seen(ctx, "x", "", later)} {
			if !fault.Is(err, fault.NotFound) {
				t.Error(err)
			}
		}
	})
}

// TestAddressesAreTakenOnce: nothing but the store keeps two requests, worked on
// at the same moment, from giving out an address twice.
func TestAddressesAreTakenOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, ctx := open(t, d), t.Context()
		var won atomic.Int32
		var wg sync.WaitGroup
		for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
			wg.Go(func() {
				n := enrolled(name)
				n.Management = netip.MustParseAddr("10.0.0.9")
				switch err := s.CreateNode(ctx, n); {
				case err == nil:
					won.Add(1)
				case !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "10.0.0.9"):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d nodes got one address", won.Load())
		}
		list, err := s.Nodes(ctx)
		if err != nil || len(list) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		mapped := enrolled("a")
		mapped.Storage = netip.MustParseAddr("::ffff:10.0.0.9")
		if err := s.CreateNode(ctx, mapped); !fault.Is(err, fault.Conflict) {
			t.Errorf("the address in another form: %v", err)
		}
		bare := cluster.Node{Roles: cluster.Roles(), Joined: db.Now(), Seen: db.Now()}
		for _, name := range []string{"b", "c"} {
			if bare.Name = name; s.CreateNode(ctx, store.Enrolled{Node: bare}) != nil {
				t.Errorf("%s, of no address, was refused", name)
			}
		}
		bare.Name = "B"
		if err := s.CreateNode(ctx, store.Enrolled{Node: bare}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "case") {
			t.Errorf("a name in other letters: %v", err)
		}
		// What a node gives up, and what one that was removed had, is free.
		first := store.Enrolled{Node: list[0]}
		if err := s.UpdateNode(ctx, first); err != nil {
			t.Errorf("as it is: %v", err)
		}
		first.Service = netip.MustParseAddr("fd00::f")
		if err := s.UpdateNode(ctx, first); err != nil {
			t.Error(err)
		}
		moved := enrolled("d")
		moved.Service = list[0].Service
		if err := s.CreateNode(ctx, moved); err != nil {
			t.Errorf("an address that was given up: %v", err)
		}
		moved.Management = list[0].Management
		if err := s.UpdateNode(ctx, moved); !fault.Is(err, fault.Conflict) {
			t.Errorf("a move to another's address: %v", err)
		}
		if err := s.Revoke(ctx, first.Name); err != nil {
			t.Fatal(err)
		}
		if err := s.UpdateNode(ctx, moved); err != nil {
			t.Errorf("an address of a removed node: %v", err)
		}
	})
}

func TestCertificatesKept(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, ctx := open(t, d), t.Context()
		if err := s.CreateNode(ctx, enrolled("a")); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if err := s.AddCertificate(ctx, fmt.Sprintf("%02d", i), "a", db.Now().Add(time.Duration(i)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.KeepCertificates(ctx, "a", 3); err != nil {
			t.Fatal(err)
		}
		c, err := s.Certificates(ctx)
		if err != nil || len(c) != 3 || c["04"] != "a" || c["01"] != "" {
			t.Errorf("%v, %v", c, err)
		}
		if err := s.Prune(ctx, db.Now().Add(3*time.Hour+time.Minute)); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Certificates(ctx); err != nil || len(c) != 1 {
			t.Errorf("after their end: %v, %v", c, err)
		}
	})
}

func TestTokenIsUsedOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, ctx := open(t, d), t.Context()
		now := db.Now()
		tok := cluster.Token{ID: "t1", Digest: "d", Roles: []cluster.Role{cluster.Compute}, Uses: 2, Created: now, Expires: now.Add(time.Hour)}
		if err := s.CreateToken(ctx, tok); err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				switch err := s.UseToken(ctx, "t1", now); {
				case err == nil:
					won.Add(1)
				case !fault.Is(err, fault.Forbidden):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 2 {
			t.Errorf("a token for 2 nodes was used %d times", won.Load())
		}
		tok.ID = "t2"
		if err := s.CreateToken(ctx, tok); err != nil {
			t.Fatal(err)
		}
		if err := s.UseToken(ctx, "t2", now.Add(time.Hour)); !fault.Is(err, fault.Forbidden) {
			t.Errorf("after its end: %v", err)
		}
		if list, err := s.Tokens(ctx); err != nil || len(list) != 2 || list[0].Uses != 0 || list[1].Uses != 2 {
			t.Errorf("%+v, %v", list, err)
		}
		if err := s.DeleteToken(ctx, "t2"); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteToken(ctx, "t2"); !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
		if _, err := s.Token(ctx, "t2"); !fault.Is(err, fault.NotFound) {
			t.Error(err)
		}
		if err := s.Prune(ctx, now.Add(30*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if list, err := s.Tokens(ctx); err != nil || len(list) != 0 {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestFacts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, ctx := open(t, d), t.Context()
		for _, v := range []string{"one", "two"} {
			if got, err := s.FirstFact(ctx, "f", v); err != nil || got != "one" {
				t.Errorf("%q, %v", got, err)
			}
		}
		if err := s.SetFact(ctx, "f", "three"); err != nil {
			t.Fatal(err)
		}
		if won, err := s.SwapFact(ctx, "f", "one", "four"); err != nil || won {
			t.Errorf("swap of what is not there: %v, %v", won, err)
		}
		if won, err := s.SwapFact(ctx, "f", "three", "four"); err != nil || !won {
			t.Errorf("swap: %v, %v", won, err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				ok, err := s.SwapFact(ctx, "g", "", fmt.Sprint(i))
				if err != nil {
					t.Error(err)
				}
				if ok {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d won", won.Load())
		}
		if f, err := s.Fact(ctx, "none"); err != nil || f != "" {
			t.Errorf("%q, %v", f, err)
		}
	})
}
