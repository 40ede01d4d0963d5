package chassis_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/agent/chassis"
	"github.com/tropocloud/tropo/network/driver/ovn"
)

// host is a switch, its guests, a metadata server and a manager in one.
type host struct {
	mu        sync.Mutex
	ports     []ovn.MetadataPort
	away      error // what a look at the guests answers, if set
	changed   chan struct{}
	served    map[string]bool
	calls     []string
	addresses []netip.Prefix
	reports   []network.HostReport
	orders    network.HostOrders
	connected bool
}

func (h *host) Connected(context.Context) bool { return h.connected }

func (h *host) SetProviderAddresses(_ context.Context, list []netip.Prefix) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addresses = list
	return nil
}

func (h *host) MetadataPorts(context.Context) ([]ovn.MetadataPort, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ports), h.away
}

func (h *host) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

func (h *host) Ensure(_ context.Context, p ovn.MetadataPort) error {
	h.note("ensure "+p.NetworkID, func() { h.served[p.NetworkID] = true })
	return nil
}

func (h *host) Remove(_ context.Context, id string) error {
	h.note("remove "+id, func() { delete(h.served, id) })
	return nil
}

func (h *host) Sync(_ context.Context, ports []ovn.MetadataPort) error {
	h.note("sync", func() {
		clear(h.served)
		for _, p := range ports {
			h.served[p.NetworkID] = true
		}
	})
	return nil
}

func (h *host) note(call string, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, call)
	f()
}

// set changes the guests' networks.
func (h *host) set(away error, ports ...ovn.MetadataPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ports, h.away = ports, away
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *host) took() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.calls
	h.calls = nil
	return out
}

func (h *host) report(_ context.Context, r network.HostReport) (network.HostOrders, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reports = append(h.reports, r)
	return h.orders, nil
}

func (h *host) provider() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.addresses)
}

func (h *host) heartbeats() int {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.reports)
}

func (h *host) lastReport() network.HostReport {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reports[len(h.reports)-1]
}

func TestChassis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{changed: make(chan struct{}), served: map[string]bool{}, connected: true, orders: network.HostOrders{Provider: []string{"10.89.2.1/24"}}}
		hub := inproc.New(inproc.Options{})
		defer hub.Close()
		mux := &bus.Mux{}
		bus.Handle(mux, network.MethodReport, h.report)
		stop, err := hub.Serve(t.Context(), network.TopicManager, "c1", mux.Serve)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		a := chassis.New(chassis.Options{
			Report: network.HostReport{Host: "h1", HostLink: true}, Bus: hub, Switch: h, Guests: h, Metadata: h, Log: slog.New(slog.DiscardHandler),
		})
		go func() { ended <- a.Run(ctx) }()
		defer func() { cancel(); <-ended }()

		if got := h.took(); !slices.Equal(got, []string{"sync"}) {
			t.Errorf("at the start: %v", got)
		}
		if r := h.lastReport(); r.Host != "h1" || !r.Connected || !r.Metadata || h.provider() != 1 {
			t.Errorf("first heartbeat %+v, %d addresses", r, h.provider())
		}
		// Only what changes is touched.
		lan := ovn.MetadataPort{NetworkID: "lan", PortID: "p"}
		h.set(nil, lan)
		time.Sleep(time.Second)
		if got := h.took(); !slices.Equal(got, []string{"ensure lan"}) {
			t.Errorf("a guest came: %v", got)
		}
		h.set(nil)
		time.Sleep(time.Second)
		if got := h.took(); !slices.Equal(got, []string{"remove lan"}) {
			t.Errorf("a guest went: %v", got)
		}
		// Who can't see the guests says so, and looks at everything after.
		h.set(fault.Unavailablef("no database"))
		time.Sleep(20 * time.Second)
		if r := h.lastReport(); r.Metadata || !r.Connected {
			t.Errorf("while the guests are out of sight: %+v", r)
		}
		h.set(nil, lan)
		time.Sleep(20 * time.Second)
		if got := h.took(); !slices.Equal(got, []string{"sync"}) {
			t.Errorf("in sight again: %v", got)
		}
		if r := h.lastReport(); !r.Metadata {
			t.Errorf("in sight again: %+v", r)
		}
		// Heartbeats come more often than an agent may be silent.
		before := h.heartbeats()
		time.Sleep(10 * time.Minute)
		if n := h.heartbeats() - before; n < 15 || n > 26 {
			t.Errorf("%d heartbeats in ten minutes", n)
		}
	})
}
