package agent

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
)

// fullLook is how many looks at the guests tell only what changed, before one
// tells all.
const fullLook = 10

// settle compares the guests of the host with what they should be until the
// manager has answered once. Before that the agent takes no orders: guests that
// were deleted, or moved to another host, while this one was away are removed
// before anything is started.
func (a *Agent) settle(ctx context.Context) {
	pause := 50 * time.Millisecond
	for {
		a.askAll(true)
		err := a.sync(ctx)
		if err == nil {
			return
		}
		a.syncFailed(ctx, err)
		pause = min(2*pause, time.Second)
		if !wait(ctx, pause, nil) {
			return
		}
	}
}

// syncLoop compares the guests now and then, and when the manager asks.
func (a *Agent) syncLoop(ctx context.Context) {
	for wait(ctx, jitter(a.o.Config.SyncInterval), a.nudge) {
		if err := a.sync(ctx); err != nil {
			a.syncFailed(ctx, err)
			a.askAll(true)
		}
	}
}

func (a *Agent) syncFailed(ctx context.Context, err error) {
	if ctx.Err() == nil && !fault.Is(err, fault.Unavailable) {
		a.o.Log.LogAttrs(ctx, slog.LevelWarn, "the host's guests were not compared", slog.String("host", a.o.Host), slog.String("error", err.Error()))
	}
}

// wantGuests makes the next look one that tells all guests, and makes it now.
func (a *Agent) wantGuests(now bool) {
	if !now {
		return
	}
	a.askAll(true)
	select {
	case a.nudge <- struct{}{}:
	default:
	}
}

func (a *Agent) askAll(all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = all
}

// eventLoop passes on what guests do by themselves.
func (a *Agent) eventLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-a.o.Driver.Events():
			if !ok {
				return
			}
			i, err := a.info(ctx, e.ServerID)
			if err == nil && i.Exists {
				err = a.tell(ctx, compute.GuestsReport{Guests: []compute.GuestInfo{i}, Partial: true}, a.now())
			}
			if err != nil && ctx.Err() == nil { // the periodic look mends it
				a.o.Log.LogAttrs(ctx, slog.LevelInfo, "an event of a guest was not passed on", slog.String("server", e.ServerID), slog.String("error", err.Error()))
			}
		}
	}
}

// sync looks at all guests and tells the manager of those whose state it does
// not know, or now and then of all.
func (a *Agent) sync(ctx context.Context) error {
	at := a.now()
	list, err := a.o.Driver.List(ctx)
	if err != nil {
		return err
	}
	var in compute.GuestsReport
	used := map[string]bool{}
	for _, i := range list {
		in.Guests = append(in.Guests, guestInfo(i))
		used[i.ImageID], used[i.RescueID] = true, true
	}
	if a.due(&in) {
		in.Guests = a.withStrays(ctx, in.Guests)
		err = a.tell(ctx, in, at)
	} else if in.Guests, in.Partial = a.news(in.Guests), true; len(in.Guests) > 0 {
		err = a.tell(ctx, in, at)
	}
	if err != nil {
		return err
	}
	if a.o.Cache != nil {
		_, err = a.o.Cache.Prune(ctx, used, 24*time.Hour)
	}
	return err
}

// withStrays adds the servers of which the host has no guest and still something:
// an interface, a process. If nobody wants them they are destroyed like guests.
func (a *Agent) withStrays(ctx context.Context, guests []compute.GuestInfo) []compute.GuestInfo {
	d, ok := a.o.Driver.(driver.Strays)
	if !ok {
		return guests
	}
	strays, err := d.Strays(ctx)
	if err != nil { // the guests matter more
		a.o.Log.LogAttrs(ctx, slog.LevelInfo, "the host's strays were not looked for", slog.String("host", a.o.Host), slog.String("error", err.Error()))
		return guests
	}
	a.mu.Lock()
	a.strays = strays
	a.mu.Unlock()
	seen := map[string]bool{"": true}
	for _, g := range guests {
		seen[g.ServerID] = true
	}
	for _, s := range strays {
		if !seen[s.ServerID] {
			seen[s.ServerID] = true
			guests = append(guests, compute.GuestInfo{ServerID: s.ServerID})
		}
	}
	return guests
}

// due reports whether this look tells all guests, and notes in in whether it is
// the first of this agent that might.
func (a *Agent) due(in *compute.GuestsReport) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	in.Start = a.restarted
	if a.restarted || a.all || a.looks >= fullLook {
		a.looks, a.all = 0, false
		return true
	}
	return false
}

// news are the guests whose state the manager has not been told, and those that
// are gone.
func (a *Agent) news(list []compute.GuestInfo) []compute.GuestInfo {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []compute.GuestInfo
	here := map[string]bool{}
	for _, g := range list {
		here[g.ServerID] = true
		if a.told[g.ServerID] != g {
			out = append(out, g)
		}
	}
	for id := range a.told {
		if !here[id] {
			out = append(out, compute.GuestInfo{ServerID: id})
		}
	}
	return out
}

// heard notes what the manager knows of guests by now.
func (a *Agent) heard(in *compute.GuestsReport, answer *compute.GuestsAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !in.Partial {
		clear(a.told)
		a.restarted = a.restarted && len(answer.Again) > 0
	}
	for _, g := range in.Guests {
		if a.told[g.ServerID] = g; !g.Exists && in.Partial {
			delete(a.told, g.ServerID)
		}
	}
	for _, list := range [][]string{answer.Again, answer.Destroy, answer.Start} {
		for _, id := range list {
			delete(a.told, id)
		}
	}
}

// now is a moment to which spawned refers.
func (a *Agent) now() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.clock
}

// spawning notes that a guest is made here from now on: what the manager
// answers to an earlier look is not about it.
func (a *Agent) spawning(serverID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clock++
	a.spawned[serverID] = a.clock
}

func (a *Agent) spawnedSince(serverID string, at int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.spawned[serverID] > at
}

func (a *Agent) forget(serverID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.spawned, serverID)
}

// tell reports guests as they were at a moment, and does what the manager
// answers: it removes first and starts then. What the host cannot do is tried
// again at the next look.
func (a *Agent) tell(ctx context.Context, in compute.GuestsReport, at int) error {
	in.Host, in.BootID = a.o.Host, a.boot
	answer, err := ask[compute.GuestsAnswer](ctx, a, compute.MethodGuests, in)
	if err != nil {
		return err
	}
	a.heard(&in, &answer)
	for _, id := range answer.Destroy {
		if a.spawnedSince(id, at) {
			continue
		}
		a.o.Log.LogAttrs(ctx, slog.LevelInfo, "destroying a guest that was deleted or moved while this host was away", slog.String("server", id))
		err := a.remove(ctx, id)
		if err != nil {
			a.failed(ctx, "a guest could not be destroyed", id, err)
		}
		there := slices.ContainsFunc(in.Guests, func(g compute.GuestInfo) bool { return g.ServerID == id && g.Exists })
		a.wantGuests(err == nil && there) // so that the manager knows
	}
	for _, id := range answer.Start {
		a.o.Log.LogAttrs(ctx, slog.LevelInfo, "starting a guest that ran before the host went down", slog.String("server", id))
		if err := a.o.Driver.PowerOn(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
			a.failed(ctx, "a guest could not be started", id, err)
		}
	}
	return ctx.Err()
}

// remove destroys a guest and what else the host has of it.
func (a *Agent) remove(ctx context.Context, id string) error {
	if err := a.o.Driver.Destroy(ctx, id, false); err != nil {
		return err
	}
	d, ok := a.o.Driver.(driver.Strays)
	if !ok {
		return nil
	}
	a.mu.Lock()
	strays := slices.Clone(a.strays)
	a.mu.Unlock()
	for _, s := range strays {
		if s.ServerID != id {
			continue
		}
		if err := d.RemoveStray(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) failed(ctx context.Context, what, id string, err error) {
	if ctx.Err() != nil {
		return
	}
	a.askAll(true)
	a.o.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("host", a.o.Host), slog.String("server", id), slog.String("error", err.Error()))
}
