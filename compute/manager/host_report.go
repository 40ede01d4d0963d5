package manager

import (
	"context"
	"log/slog"
	"reflect"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// seen notes an agent's sign of life, and reports whether it comes after a
// silence: then the host may have guests that live elsewhere by now.
func (m *Manager) seen(ctx context.Context, host string) (back bool, err error) {
	now := db.Now()
	ok, err := m.store.Beat(ctx, host, compute.BinaryCompute, now, now.Add(-m.conf.DownTime))
	if err != nil || ok {
		return false, err
	}
	return true, m.store.Seen(ctx, host, compute.BinaryCompute, now)
}

// agentBeat notes an agent's sign of life.
func (m *Manager) agentBeat(ctx context.Context, in compute.Beat) (compute.BeatAnswer, error) {
	if in.Host == "" {
		return compute.BeatAnswer{}, fault.Invalidf("The sign of life names no host.")
	}
	back, err := m.seen(ctx, in.Host)
	return compute.BeatAnswer{Report: back, Guests: back || m.doubted(in.Host)}, err
}

// agentReport notes an agent's sign of life and brings placement up to date
// when the host changed.
func (m *Manager) agentReport(ctx context.Context, in compute.Report) (compute.ReportAnswer, error) {
	if in.Host == "" || in.Node == "" {
		return compute.ReportAnswer{}, fault.Invalidf("The report names no host.")
	}
	back, err := m.seen(ctx, in.Host)
	if err != nil {
		return compute.ReportAnswer{}, err
	}
	out := compute.ReportAnswer{Guests: back || m.doubted(in.Host)}
	old, err := m.store.NodeByName(ctx, in.Node)
	if err != nil && !isMissing(err) {
		return out, err
	}
	if old != nil && old.Host != in.Host {
		return out, fault.Conflictf("The hypervisor %s belongs to the host %s.", in.Node, old.Host)
	}
	out.Synced = old != nil && old.Synced && sameInventory(old.Inventory, in.Inventory)
	boot := in.BootID
	if old != nil {
		boot = old.BootID // changed by agentGuests, which starts the guests
	}
	n, err := m.store.SaveNode(ctx, in.Host, in.Node, boot, in.Inventory, out.Synced)
	if err != nil || out.Synced {
		return out, err
	}
	if err := m.syncProvider(ctx, n); err != nil {
		m.log.LogAttrs(ctx, slog.LevelInfo, "placement does not know the host yet", slog.String("host", in.Host), slog.String("error", err.Error()))
		return out, nil
	}
	out.Synced = true
	return out, m.store.NodeSynced(ctx, n.UUID)
}

// sameInventory compares what placement is told.
func sameInventory(a, b compute.Inventory) bool {
	a.Uptime, a.FreeDiskGB, a.IP = b.Uptime, b.FreeDiskGB, b.IP
	return reflect.DeepEqual(a, b)
}

// agentOrder answers an agent's question whether it may make or start a guest.
func (m *Manager) agentOrder(ctx context.Context, in compute.Order) (struct{}, error) {
	var ok bool
	var err error
	if in.ID != "" {
		ok, err = m.store.TakeOrder(ctx, in.ServerID, in.Host, in.ID)
	} else {
		var s *compute.Server
		s, err = m.store.Server(ctx, in.ServerID)
		if isMissing(err) {
			err = nil
		} else if err == nil {
			ok = s.Host == in.Host && s.TaskState != compute.TaskDeleting
		}
	}
	if err == nil && !ok {
		err = fault.Conflictf("The order for the server is no longer valid.")
	}
	return struct{}{}, err
}
