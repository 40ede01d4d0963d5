package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// maxGroupAddresses bounds an address group (threats.md 47).
const maxGroupAddresses = 500

// CreateAddressGroup makes a set of prefixes.
func (m *Manager) CreateAddressGroup(ctx context.Context, c network.Change) (*network.AddressGroup, error) {
	var out *network.AddressGroup
	err := m.tx(ctx, func(ctx context.Context) error {
		g := &network.AddressGroup{}
		if err := c.Into(g); err != nil {
			return err
		}
		if err := m.reserve(ctx, g.Kind(), g.ProjectID, 1); err != nil {
			return err
		}
		var err error
		if g.Addresses, err = normalPrefixes(g.Addresses); err != nil {
			return err
		}
		if err := store.Insert(ctx, m.store, g); err != nil {
			return err
		}
		if err := m.mark(ctx, network.DirtyAddressGroup, g.ID); err != nil {
			return err
		}
		out, err = store.Find[network.AddressGroup](ctx, m.store, scope(ctx), g.ID)
		return err
	})
	return out, err
}

func normalPrefixes(list []string) ([]string, error) {
	if len(list) > maxGroupAddresses {
		return nil, invalid("An address group can have at most %d addresses.", maxGroupAddresses)
	}
	out := []string{}
	for _, a := range list {
		p, err := network.ParsePrefix(a)
		if err != nil {
			return nil, bad("HTTPBadRequest", "Invalid input for addresses. Reason: '%s' is not a valid IP subnet.", a)
		}
		if s := p.String(); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

// UpdateAddressGroup changes name and description.
func (m *Manager) UpdateAddressGroup(ctx context.Context, id string, c network.Change) (*network.AddressGroup, error) {
	return update(ctx, m, id, c, func(ctx context.Context, _, _ *network.AddressGroup) (bool, error) {
		return false, m.mark(ctx, network.DirtyAddressGroup, id)
	})
}

// ChangeAddresses adds addresses to a group or takes them away.
func (m *Manager) ChangeAddresses(ctx context.Context, id string, list []string, add bool) (*network.AddressGroup, error) {
	return update(ctx, m, id, network.Change{}, func(ctx context.Context, _, g *network.AddressGroup) (bool, error) {
		change, err := normalPrefixes(list)
		if err != nil {
			return false, err
		}
		now := slices.Clone(g.Addresses)
		for _, a := range change {
			i := slices.Index(now, a)
			switch {
			case add && i >= 0:
				return false, bad("AddressesAlreadyExist", "Addresses %s already exist in the address group %s.", a, id)
			case add:
				now = append(now, a)
			case i < 0:
				return false, fault.New(fault.NotFound, "Addresses %s not found in the address group %s.", a, id).WithType("AddressesNotFound")
			default:
				now = slices.Delete(now, i, i+1)
			}
		}
		if len(now) > maxGroupAddresses {
			return false, invalid("An address group can have at most %d addresses.", maxGroupAddresses)
		}
		g.Addresses = now
		return false, m.mark(ctx, network.DirtyAddressGroup, id)
	})
}

// DeleteAddressGroup deletes a group that no rule names.
func (m *Manager) DeleteAddressGroup(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, _ *network.AddressGroup) error {
		rules, err := store.Select[network.SecurityGroupRule](ctx, m.store, db.Where().Eq("remote_address_group_id", id))
		if err != nil {
			return err
		}
		if len(rules) > 0 {
			return conflict("AddressGroupInUse", "Address group %s is in use on one or more security group rules.", id)
		}
		return m.mark(ctx, network.DirtyAddressGroup, id)
	})
}
