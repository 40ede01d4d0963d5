package agent

import (
	"context"

	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/driver"
)

// marks are told by Rows that can: objects that wait for the dataplane are
// work under way.
type marks interface {
	AllMarks(ctx context.Context) ([]network.Dirty, error)
}

// Checks are what the doctor looks for in the dataplane; none where the driver
// cannot compare.
func (a *Agent) Checks() []doctor.Check {
	if _, ok := a.o.Driver.(driver.Comparer); !ok {
		return nil
	}
	return []doctor.Check{{Name: "dataplane-drift", Service: "network", Find: a.findDrift, Heal: a.healDrift}}
}

// Compare tells what Sync would do now. Objects that the agent has yet to work
// on are left out.
func (a *Agent) Compare(ctx context.Context) (driver.Drift, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	known, err := a.o.Driver.Owned(ctx)
	if err != nil {
		return driver.Drift{}, err
	}
	waits, err := a.waits(ctx)
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
	drift, err := a.o.Driver.(driver.Comparer).Compare(ctx, wanted)
	var out driver.Drift
	for _, o := range drift.Healed {
		if !waits[o] {
			out.Healed = append(out.Healed, o)
		}
	}
	for _, o := range drift.Deleted {
		if !waits[o] {
			out.Deleted = append(out.Deleted, o)
		}
	}
	return out, err
}

func (a *Agent) waits(ctx context.Context) (map[driver.Object]bool, error) {
	out := map[driver.Object]bool{}
	rows, ok := a.o.Rows.(marks)
	if !ok {
		return out, nil
	}
	list, err := rows.AllMarks(ctx)
	for _, d := range list {
		out[driver.Object{Kind: driver.ObjectKind(d.Kind), ID: d.ObjectID}] = true
	}
	return out, err
}

func (a *Agent) findDrift(ctx context.Context, l *doctor.Look) error {
	drift, err := a.Compare(ctx)
	if err != nil {
		return err
	}
	for _, o := range drift.Healed {
		l.Found(doctor.Finding{Kind: string(o.Kind), ID: o.ID, Problem: "is missing in the dataplane, or different there", Fix: "make the dataplane equal to the row"})
	}
	for _, o := range drift.Deleted {
		l.Found(doctor.Finding{Kind: string(o.Kind), ID: o.ID, Problem: "is in the dataplane and has no row", Fix: "remove it from the dataplane"})
	}
	return nil
}

// healDrift does what the agent does by itself every few minutes.
func (a *Agent) healDrift(ctx context.Context, _ doctor.Finding) error {
	_, err := a.Sync(ctx)
	return err
}
