package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// templates are the rules that a new default group gets, or another new one.
// As installed, guests may talk out, and members of a default group with each
// other.
func (m *Manager) templates(ctx context.Context, forDefault bool) ([]network.DefaultRule, error) {
	column := "in_other"
	if forDefault {
		column = "in_default"
	}
	return store.Select[network.DefaultRule](ctx, m.store, db.Where().Eq(column, true))
}

// maxTemplates bounds the rules of new groups.
const maxTemplates = 50

// CreateDefaultRule adds a rule that groups made from now on get.
func (m *Manager) CreateDefaultRule(ctx context.Context, c network.Change) (*network.DefaultRule, error) {
	return create(ctx, m, c, func(ctx context.Context, d *network.DefaultRule) error {
		all, err := store.Select[network.DefaultRule](ctx, m.store, db.Where())
		if err != nil {
			return err
		}
		if len(all) >= maxTemplates {
			return invalid("There can be at most %d default security group rules.", maxTemplates)
		}
		r := d.For("template", "")
		if d.RemoteGroupID != nil && *d.RemoteGroupID != network.Parent {
			if _, err := store.Get[network.SecurityGroup](ctx, m.store, *d.RemoteGroupID); err != nil {
				return err
			}
		} else {
			r.RemoteGroupID = d.RemoteGroupID
		}
		if d.RemoteAddrs != nil {
			if _, err := store.Get[network.AddressGroup](ctx, m.store, *d.RemoteAddrs); err != nil {
				return err
			}
		}
		if err := r.Validate(); err != nil {
			return err
		}
		d.Protocol, d.PortMin, d.PortMax, d.RemoteIP, d.SameKey = r.Protocol, r.PortMin, r.PortMax, r.RemoteIP, r.Same()
		for i := range all {
			if all[i].SameKey == d.SameKey {
				return conflict("DefaultSecurityGroupRuleExists", "Default security group rule already exists. Rule id is %s.", all[i].ID)
			}
		}
		return nil
	})
}

// DeleteDefaultRule takes one away; groups that have it keep it.
func (m *Manager) DeleteDefaultRule(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(context.Context, *network.DefaultRule) error { return nil })
}
