package manager

import (
	"context"
	"fmt"
	"slices"

	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// patience is how many tries the dataplane has to follow a row.
const patience = 8

// Checks are what the doctor looks for in the network service's rows.
func (m *Manager) Checks() []doctor.Check {
	return []doctor.Check{
		{Name: "floating-ip-lost", Service: "network", Find: m.findFloating, Heal: m.healFloating},
		{Name: "router-port-orphan", Service: "network", Find: m.findLegs, Heal: m.healLeg},
		{Name: "dataplane-refuses", Service: "network", Find: m.findRefused},
	}
}

// findFloating finds floating IPs that lead nowhere though they say where.
func (m *Manager) findFloating(ctx context.Context, l *doctor.Look) error {
	ids, err := m.store.LostFloatingIPs(ctx)
	for _, id := range ids {
		l.Found(doctor.Finding{Kind: "floatingip", ID: id, Problem: "leads to an address that its port does not have, or over no router", Fix: "lead it nowhere; its address stays its owner's"})
	}
	return err
}

func (m *Manager) healFloating(ctx context.Context, f doctor.Finding) error {
	return m.tx(ctx, func(ctx context.Context) error {
		ids, err := m.store.LostFloatingIPs(ctx)
		if err != nil || !slices.Contains(ids, f.ID) {
			return err
		}
		row, err := store.Get[network.FloatingIP](ctx, m.store, f.ID)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return m.detachFloating(ctx, row)
	})
}

// findLegs finds the service's own ports whose router or floating IP is gone.
// Nobody but the service can delete them.
func (m *Manager) findLegs(ctx context.Context, l *doctor.Look) error {
	ids, err := m.store.LostLegs(ctx)
	for _, id := range ids {
		l.Found(doctor.Finding{Kind: "port", ID: id, Problem: "of a router or a floating IP that does not exist", Fix: "delete the port"})
	}
	return err
}

func (m *Manager) healLeg(ctx context.Context, f doctor.Finding) error {
	return m.tx(ctx, func(ctx context.Context) error {
		ids, err := m.store.LostLegs(ctx)
		if err != nil || !slices.Contains(ids, f.ID) {
			return err
		}
		p, err := store.Get[network.Port](ctx, m.store, f.ID)
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return m.dropPort(ctx, p)
	})
}

// findRefused finds objects that the dataplane does not take.
func (m *Manager) findRefused(ctx context.Context, l *doctor.Look) error {
	list, err := m.store.AllMarks(ctx)
	for _, d := range list {
		if d.Attempts >= patience {
			l.Found(doctor.Finding{
				Kind: d.Kind, ID: d.ObjectID, Problem: fmt.Sprintf("the dataplane did not follow in %d tries; last error: %s", d.Attempts, d.Problem),
				Command: "mend the cause; the agent tries again by itself",
			})
		}
	}
	return err
}
