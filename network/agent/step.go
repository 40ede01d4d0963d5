package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver"
)

// errKilled ends the agent where a crash test wants it.
var errKilled = errors.New("ended by a crash test")

// work is a mark with the object's rows as of now.
type work struct {
	mark  network.Dirty
	state *network.State
	gone  bool // the object has no row
}

// Step works on the marks whose time has come and returns how many there
// were; without any, when the next one comes (zero: none is waiting).
func (a *Agent) Step(ctx context.Context) (int, time.Time, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	marks, next, err := a.o.Rows.Due(ctx, atOnce)
	if err != nil || len(marks) == 0 {
		return 0, next, err
	}
	list := make([]work, len(marks))
	for i, d := range marks {
		st, err := a.o.Rows.State(ctx, d.Kind, d.ObjectID)
		if err != nil {
			return 0, next, err
		}
		list[i] = work{mark: d, state: st, gone: gone(st, d)}
	}
	// What is made comes before what uses it, and goes after it.
	slices.SortStableFunc(list, func(x, y work) int { return x.rank() - y.rank() })
	for _, w := range list {
		if err := a.one(ctx, w); err != nil {
			return 0, next, err
		}
	}
	return len(list), next, nil
}

func (w work) rank() int {
	if r := network.DirtyRank(w.mark.Kind); !w.gone {
		return r
	}
	return 100 - network.DirtyRank(w.mark.Kind)
}

func gone(st *network.State, d network.Dirty) bool {
	there := false
	switch d.Kind {
	case network.DirtyNetwork:
		_, there = st.Networks[d.ObjectID]
	case network.DirtySubnet:
		_, there = st.Subnets[d.ObjectID]
	case network.DirtyPort:
		_, there = st.Ports[d.ObjectID]
	case network.DirtyRouter:
		_, there = st.Routers[d.ObjectID]
	case network.DirtyFloatingIP:
		var f *network.FloatingIP
		f, there = st.FloatingIPs[d.ObjectID]
		there = there && f.PortID != nil
	case network.DirtySecurityGroup:
		_, there = st.SecurityGroups[d.ObjectID]
	case network.DirtyAddressGroup:
		_, there = st.AddressGroups[d.ObjectID]
	}
	return !there
}

// one makes the dataplane equal to one object and removes its mark.
func (a *Agent) one(ctx context.Context, w work) error {
	object := driver.Object{Kind: driver.ObjectKind(w.mark.Kind), ID: w.mark.ObjectID}
	if err := a.hook(object, false); err != nil {
		return err
	}
	call, cancel := context.WithTimeout(ctx, callTime)
	err := a.apply(call, w)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if kerr := a.hook(object, true); kerr != nil {
		return kerr
	}
	if err == nil {
		return a.o.Rows.Done(ctx, w.mark)
	}
	if fault.Is(err, fault.Invalid) {
		// What can be expressed was applied; the rest never will be.
		a.log.LogAttrs(ctx, slog.LevelWarn, "a part of an object is not in the dataplane", slog.String("object", object.String()), slog.String("error", err.Error()))
		return a.o.Rows.Done(ctx, w.mark)
	}
	level := slog.LevelDebug
	if w.mark.Attempts > 2 {
		level = slog.LevelWarn
	}
	a.log.LogAttrs(ctx, level, "the dataplane did not follow yet", slog.String("object", object.String()), slog.Int("attempts", w.mark.Attempts+1), slog.String("error", err.Error()))
	return a.o.Rows.Again(ctx, w.mark, time.Now().Add(backoff(w.mark.Attempts)), err.Error())
}

func (a *Agent) hook(o driver.Object, after bool) error {
	if a.o.Hook == nil {
		return nil
	}
	if err := a.o.Hook(o, after); err != nil {
		return fmt.Errorf("%w: %s: %w", errKilled, o, err)
	}
	return nil
}

func (a *Agent) apply(ctx context.Context, w work) error {
	d, st, id := a.o.Driver, w.state, w.mark.ObjectID
	switch w.mark.Kind {
	case network.DirtyNetwork:
		if w.gone {
			return d.DeleteNetwork(ctx, id)
		}
		return d.EnsureNetwork(ctx, renderNetwork(st.Networks[id]))
	case network.DirtySubnet:
		return a.applySubnet(ctx, st, id, w.gone)
	case network.DirtyPort:
		if w.gone {
			return d.DeletePort(ctx, id)
		}
		return d.EnsurePort(ctx, renderPort(st, st.Ports[id]))
	case network.DirtyRouter:
		if w.gone {
			return d.DeleteRouter(ctx, id)
		}
		return d.EnsureRouter(ctx, renderRouter(st, st.Routers[id]))
	case network.DirtyFloatingIP:
		if w.gone {
			return d.DeleteFloatingIP(ctx, id)
		}
		return d.EnsureFloatingIP(ctx, renderFloatingIP(st.FloatingIPs[id]))
	case network.DirtySecurityGroup:
		if w.gone {
			return d.DeleteSecurityGroup(ctx, id)
		}
		return d.EnsureSecurityGroup(ctx, renderGroup(st.SecurityGroups[id]))
	case network.DirtyHost:
		return d.RemoveHost(ctx, id)
	case network.DirtyAddressGroup:
		if w.gone {
			return d.DeleteAddressGroup(ctx, id)
		}
		return d.EnsureAddressGroup(ctx, renderAddressGroup(st.AddressGroups[id]))
	}
	return fault.Invalidf("unknown kind %q", w.mark.Kind)
}

func (a *Agent) applySubnet(ctx context.Context, st *network.State, id string, gone bool) error {
	want := netip.Prefix{}
	if !gone {
		want = a.providerAddress(st, st.Subnets[id])
	}
	if err := a.setProvider(ctx, id, want); err != nil {
		return err
	}
	if gone {
		return a.o.Driver.DeleteSubnet(ctx, id)
	}
	return a.o.Driver.EnsureSubnet(ctx, a.renderSubnet(st, st.Subnets[id]))
}

// setProvider gives the host a subnet's gateway address, and takes the one
// back that it had.
func (a *Agent) setProvider(ctx context.Context, subnet string, want netip.Prefix) error {
	if a.o.Provider == nil {
		return nil
	}
	had, err := a.o.Rows.ProviderAddresses(ctx)
	if err != nil {
		return err
	}
	text := ""
	if want.IsValid() {
		text = want.String()
	}
	if old := had[subnet]; old != "" && old != text {
		p, err := netip.ParsePrefix(old)
		if err == nil {
			err = a.o.Provider.RemoveProviderAddress(ctx, p)
		}
		if err != nil {
			return err
		}
		if err := a.o.Rows.SetProviderAddress(ctx, subnet, ""); err != nil {
			return err
		}
	}
	if text == "" {
		return nil
	}
	if had[subnet] != text {
		if err := a.o.Rows.SetProviderAddress(ctx, subnet, text); err != nil {
			return err
		}
	}
	return a.o.Provider.EnsureProviderAddress(ctx, want)
}

// Sync compares everything: what differs is healed, what nobody wants is
// deleted.
func (a *Agent) Sync(ctx context.Context) (driver.Drift, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, err := a.o.Driver.Owned(ctx)
	if err != nil {
		return driver.Drift{}, err
	}
	st, err := a.o.Rows.All(ctx)
	if err != nil {
		return driver.Drift{}, err
	}
	wanted := a.Render(st)
	if wanted.Known = known; known == nil {
		wanted.Known = []driver.Object{}
	}
	drift, err := a.o.Driver.Sync(ctx, wanted)
	err = errors.Join(err, a.syncProvider(ctx, st))
	if len(drift.Healed)+len(drift.Deleted) > 0 {
		a.log.LogAttrs(ctx, slog.LevelInfo, "dataplane was made equal to the rows", slog.Int("healed", len(drift.Healed)), slog.Int("deleted", len(drift.Deleted)))
	}
	return drift, err
}

func (a *Agent) syncProvider(ctx context.Context, st *network.State) error {
	if a.o.Provider == nil {
		return nil
	}
	had, err := a.o.Rows.ProviderAddresses(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for id := range had {
		if _, there := st.Subnets[id]; !there {
			errs = append(errs, a.setProvider(ctx, id, netip.Prefix{}))
		}
	}
	for _, s := range sorted(st.Subnets) {
		errs = append(errs, a.setProvider(ctx, s.ID, a.providerAddress(st, s)))
	}
	return errors.Join(errs...)
}
