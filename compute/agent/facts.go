package agent

import (
	"context"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/driver"
)

func (a *Agent) handleFacts(m *bus.Mux) {
	bus.Handle(m, compute.MethodFacts, a.facts)
	bus.Handle(m, compute.MethodSweep, a.sweep)
}

// facts tells all that the host has of guests.
func (a *Agent) facts(ctx context.Context, _ struct{}) (compute.HostFacts, error) {
	out := compute.HostFacts{Host: a.o.Host}
	list, err := a.o.Driver.List(ctx)
	if err != nil {
		return out, err
	}
	for _, i := range list {
		g := compute.GuestFact{GuestInfo: guestInfo(i)}
		for _, v := range i.VIFs {
			g.Ports = append(g.Ports, v.PortID)
		}
		out.Guests = append(out.Guests, g)
	}
	if d, ok := a.o.Driver.(driver.Strays); ok {
		strays, err := d.Strays(ctx)
		if err != nil {
			return out, err
		}
		for _, s := range strays {
			out.Strays = append(out.Strays, compute.Stray(s))
		}
	}
	return out, nil
}

// sweep removes what no guest has.
func (a *Agent) sweep(ctx context.Context, in compute.Stray) (struct{}, error) {
	d, ok := a.o.Driver.(driver.Strays)
	if !ok {
		return struct{}{}, nil
	}
	return struct{}{}, d.RemoveStray(ctx, driver.Stray(in))
}
