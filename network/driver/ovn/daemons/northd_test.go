package daemons

import (
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// answer is a control socket that answers each command with what text holds.
func answer(t *testing.T, socket string, text *atomic.Value) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var request struct {
				ID any `json:"id"`
			}
			if json.NewDecoder(c).Decode(&request) == nil {
				_ = json.NewEncoder(c).Encode(map[string]any{"id": request.ID, "result": text.Load(), "error": nil})
			}
			_ = c.Close()
		}
	}()
}

// TestNorthdFindsNewLeaders: a northd that is not connected is started anew when
// both databases have had a leader for a while, less and less often, and is left
// alone while there is none to be found.
func TestNorthdFindsNewLeaders(t *testing.T) {
	own, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	d, ctx := prepare(t, "ovn-northd", Config{
		Central: true, NoChassis: true, Address: own,
		TLS:      TLS{CA: "ca", Cert: "cert", Key: "key"}, // nothing is ever connected
		Controls: func() []netip.Addr { return []netip.Addr{own, other} },
	})
	const patience = 20 * time.Second // more than this test takes
	d.patience = patience
	d.hear()
	if _, err := d.ensureProcess(ctx, d.northd()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.stopProcess(context.Background(), d.northd()); err != nil {
			t.Error(err)
		}
	}()
	var nb, sb atomic.Value
	answer(t, d.run("nb.ctl"), &nb)
	answer(t, d.run("sb.ctl"), &sb)
	// mind looks once, as after so long, and says whether northd is another.
	mind := func(later time.Duration) bool {
		t.Helper()
		before, _ := d.find(d.northd())
		if !d.astray.IsZero() {
			d.astray = d.astray.Add(-later)
		}
		if err := d.mindNorthd(ctx); err != nil {
			t.Fatal(err)
		}
		after, ok := d.find(d.northd())
		if !ok {
			t.Fatal("northd is gone")
		}
		return after != before
	}
	const (
		member   = "ab12\nName: OVN\nStatus: cluster member\nRole: follower\nLeader: cd34\nVote: cd34\n"
		election = "ab12\nName: OVN\nStatus: cluster member\nRole: candidate\nLeader: unknown\nVote: self\n"
		alone    = "ab12\nName: OVN\nStatus: disconnected from the cluster (election timeout)\nRole: candidate\nLeader: unknown\n"
	)
	for _, s := range []struct {
		what   string
		nb, sb string
		later  time.Duration
		want   bool
	}{
		{"cut off", alone, alone, 0, false},
		{"cut off for long", alone, alone, time.Hour, false},
		{"an election", member, election, time.Hour, false},
		{"two leaders", member, member, 0, false},
		{"soon after", member, member, patience / 2, false},
		{"an election again", election, member, patience, false},
		{"two leaders again", member, member, patience, false},
		{"and for long enough", member, member, patience, true},
		{"the next one has its time", member, member, patience, false},
		{"more than the first", member, member, patience, false},
		{"and no more than that", member, member, patience, true},
	} {
		nb.Store(s.nb)
		sb.Store(s.sb)
		if got := mind(s.later); got != s.want {
			t.Errorf("%s: started anew: %v", s.what, got)
		}
	}
}
