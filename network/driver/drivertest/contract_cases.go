package drivertest

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network/driver"
)

func ensureIsIdempotent(t *testing.T, h Harness) {
	s := Sample()
	ensureAll(t, h.Driver, s)
	expectOwned(t, h.Driver, sampleObjects()...)
	// Whatever the order of arrival, the result is the wanted state.
	expectDrift(t, h.Driver, s, driver.Drift{})
	ensureAll(t, h.Driver, s)
	expectDrift(t, h.Driver, s, driver.Drift{})
}

func missingContainers(t *testing.T, h Harness) {
	ctx, s := deadline(t), Sample()
	expectKind(t, h.Driver.EnsurePort(ctx, s.Ports[0]), fault.NotFound)
	expectKind(t, h.Driver.EnsureSubnet(ctx, s.Subnets[0]), fault.NotFound)
	expectKind(t, h.Driver.EnsureFloatingIP(ctx, s.FloatingIPs[0]), fault.NotFound)
	expectOwned(t, h.Driver)
}

// badPartsStopNothing: CVE-2014-0187, CVE-2019-9735, CVE-2019-10876,
// CVE-2021-40085.
func badPartsStopNothing(t *testing.T, h Harness) {
	ctx, s := deadline(t), Sample()
	ensureAll(t, h.Driver, s)

	group := s.SecurityGroups[0]
	group.Rules = append(slices.Clone(group.Rules),
		driver.Rule{ID: "bad-family", Direction: driver.Ingress, Remote: netip.MustParsePrefix("fd00::/8")},
		driver.Rule{ID: "bad-ports", Direction: driver.Ingress, Protocol: "tcp", PortMin: num(9), PortMax: num(1)},
		driver.Rule{ID: "bad-protocol", Direction: driver.Ingress, Protocol: "tcp) || (1"},
		driver.Rule{ID: "odd-protocol-ports", Direction: driver.Ingress, Protocol: "vrrp", PortMin: num(1), PortMax: num(1)},
		driver.Rule{ID: "good", Direction: driver.Ingress, Protocol: "tcp", PortMin: num(443), PortMax: num(443)})
	expectKind(t, h.Driver.EnsureSecurityGroup(ctx, group), fault.Invalid)

	port := s.Ports[0]
	port.DHCPOptions = []driver.DHCPOption{{Name: "bootfile-name", Value: "a\ndhcp-script=/bin/sh"}, {Name: "domain-name", Value: `x", evil="y`}, {Name: "mtu", Value: "1400"}}
	port.AllowedPairs = []driver.AddressPair{{MAC: "zz", Prefix: netip.MustParsePrefix("10.0.0.7/32")}, {}, {Prefix: netip.MustParsePrefix("10.0.0.8/32")}}
	expectKind(t, h.Driver.EnsurePort(ctx, port), fault.Invalid)

	router := s.Routers[0]
	router.Routes = append(slices.Clone(router.Routes), driver.Route{Destination: netip.MustParsePrefix("fd00::/8"), NextHop: netip.MustParseAddr("10.0.0.9")})
	expectKind(t, h.Driver.EnsureRouter(ctx, router), fault.Invalid)

	expectKind(t, h.Driver.EnsureNetwork(ctx, driver.Network{ID: "x\ny", Type: driver.TypeGeneve}), fault.Invalid)
	expectKind(t, h.Driver.EnsureNetwork(ctx, driver.Network{ID: "odd", Type: driver.TypeVLAN, Physical: "public", VLAN: 5000}), fault.Invalid)
	odd := s.Ports[0]
	odd.ID, odd.MAC = "odd", "not a mac"
	expectKind(t, h.Driver.EnsurePort(ctx, odd), fault.Invalid)

	// What was good of it is there, what was bad is not: the state without
	// the bad parts is found in place.
	group.Rules = slices.DeleteFunc(group.Rules, func(r driver.Rule) bool { return r.Validate() != nil })
	port.DHCPOptions, port.AllowedPairs = port.DHCPOptions[2:], port.AllowedPairs[2:]
	router.Routes = router.Routes[:1]
	s.SecurityGroups[0], s.Ports[0], s.Routers[0] = group, port, router
	got, err := h.Driver.Sync(ctx, s)
	must(t, err)
	if len(got.Deleted) != 0 {
		t.Errorf("deleted %v", got.Deleted)
	}
	expectDrift(t, h.Driver, s, driver.Drift{})
}

func syncHealsAndDeletes(t *testing.T, h Harness) {
	s := Sample()
	drift, err := h.Driver.Sync(deadline(t), s)
	must(t, err)
	if len(drift.Healed) != len(sampleObjects()) {
		t.Errorf("built %v", drift.Healed)
	}
	for _, o := range sampleObjects() {
		h.Damage(t, o)
		drift, err := h.Driver.Sync(deadline(t), s)
		must(t, err)
		if !slices.Contains(drift.Healed, o) {
			t.Errorf("%s was damaged, healed %v", o, drift.Healed)
		}
		expectDrift(t, h.Driver, s, driver.Drift{})
	}
	s.FloatingIPs, s.Ports = nil, s.Ports[1:]
	expectDrift(t, h.Driver, s, driver.Drift{Deleted: []driver.Object{{Kind: driver.ObjectFloatingIP, ID: "fip"}, {Kind: driver.ObjectPort, ID: "port-1"}}})
	expectDrift(t, h.Driver, s, driver.Drift{})
}

// syncSparesTheUnknown: objects that were made after the rows were read stay.
func syncSparesTheUnknown(t *testing.T, h Harness) {
	s := Sample()
	ensureAll(t, h.Driver, s)
	known, err := h.Driver.Owned(deadline(t))
	must(t, err)
	must(t, h.Driver.EnsureAddressGroup(deadline(t), driver.AddressGroup{ID: "young"}))
	s.Known, s.FloatingIPs = known, nil
	expectDrift(t, h.Driver, s, driver.Drift{Deleted: []driver.Object{{Kind: driver.ObjectFloatingIP, ID: "fip"}}})
	s.Known = nil
	expectDrift(t, h.Driver, s, driver.Drift{Deleted: []driver.Object{{Kind: driver.ObjectAddressGroup, ID: "young"}}})
}

func syncGoesOn(t *testing.T, h Harness) {
	s := Sample()
	s.Networks = append([]driver.Network{{ID: "bad", Type: "token-ring"}}, s.Networks...)
	s.Ports = append([]driver.Port{{ID: "orphan", NetworkID: "bad", Kind: driver.KindVIF, MAC: "fa:16:3e:00:00:99"}}, s.Ports...)
	if _, err := h.Driver.Sync(deadline(t), s); err == nil {
		t.Error("bad objects were not told")
	}
	expectOwned(t, h.Driver, sampleObjects()...)

	// An object that can't be applied any more keeps what it had.
	s = Sample()
	s.Ports[0].MAC = "?"
	if _, err := h.Driver.Sync(deadline(t), s); err == nil {
		t.Error("a bad port was not told")
	}
	expectOwned(t, h.Driver, sampleObjects()...)
	expectDrift(t, h.Driver, Sample(), driver.Drift{})
}

func portEvents(t *testing.T, h Harness) {
	s := Sample()
	ensureAll(t, h.Driver, s)
	ctx, cancel := context.WithCancel(deadline(t))
	events, ended := make(chan driver.PortEvent, 100), make(chan error)
	go func() {
		ended <- h.Driver.Watch(ctx, func(e driver.PortEvent) { events <- e })
	}()
	expect := func(want driver.PortEvent) {
		t.Helper()
		for {
			select {
			case e := <-events:
				if e == want {
					return
				}
				if e.PortID == want.PortID {
					t.Fatalf("got %v, want %v", e, want)
				}
			case <-ctx.Done():
				t.Fatalf("no event %v", want)
			}
		}
	}
	expect(driver.PortEvent{PortID: "port-1"})
	unplug := h.Plug(t, s.Ports[0])
	expect(driver.PortEvent{PortID: "port-1", Up: true})
	unplug()
	expect(driver.PortEvent{PortID: "port-1"})
	unplug = h.Plug(t, s.Ports[0])
	expect(driver.PortEvent{PortID: "port-1", Up: true})
	must(t, h.Driver.DeletePort(ctx, "port-1"))
	expect(driver.PortEvent{PortID: "port-1"})
	unplug()
	cancel()
	if err := <-ended; err == nil {
		t.Error("Watch ended without its context's error")
	}
}

func deleteIsIdempotent(t *testing.T, h Harness) {
	ctx, d := deadline(t), h.Driver
	ensureAll(t, d, Sample())
	for range 2 {
		must(t, d.DeleteFloatingIP(ctx, "fip"))
		must(t, d.DeleteRouter(ctx, "router"))
		for _, id := range []string{"port-1", "port-2", "port-md", "port-r", "port-gw", "port-fip"} {
			must(t, d.DeletePort(ctx, id))
		}
		must(t, d.DeleteSubnet(ctx, "sub-a"))
		must(t, d.DeleteSubnet(ctx, "sub-a6"))
		must(t, d.DeleteSecurityGroup(ctx, "sg-web"))
		must(t, d.DeleteSecurityGroup(ctx, "sg-raw"))
		must(t, d.DeleteAddressGroup(ctx, "ag"))
		for _, n := range Sample().Networks {
			must(t, d.DeleteNetwork(ctx, n.ID))
		}
	}
	expectOwned(t, d)
}
