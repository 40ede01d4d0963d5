package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// CreateFlavor makes a flavor of routers.
func (m *Manager) CreateFlavor(ctx context.Context, c network.Change) (*network.Flavor, error) {
	return create(ctx, m, c, func(_ context.Context, f *network.Flavor) error {
		if f.ServiceType != "L3_ROUTER_NAT" {
			return fault.New(fault.Invalid, "Invalid service type %s.", f.ServiceType).WithType("InvalidServiceType")
		}
		return nil
	})
}

// create inserts a resource that is nothing but a row.
func create[T any, P network.Row[T]](ctx context.Context, m *Manager, c network.Change, check func(ctx context.Context, v P) error) (*T, error) {
	var out *T
	err := m.tx(ctx, func(ctx context.Context) error {
		v := new(T)
		if err := c.Into(v); err != nil {
			return err
		}
		if err := check(ctx, v); err != nil {
			return err
		}
		if err := store.Insert(ctx, m.store, P(v)); err != nil {
			return err
		}
		var err error
		out, err = store.Find[T, P](ctx, m.store, scope(ctx), P(v).Std().ID)
		return err
	})
	return out, err
}

// UpdateFlavor changes a flavor.
func (m *Manager) UpdateFlavor(ctx context.Context, id string, c network.Change) (*network.Flavor, error) {
	return update(ctx, m, id, c, func(context.Context, *network.Flavor, *network.Flavor) (bool, error) { return false, nil })
}

// DeleteFlavor deletes a flavor that no router has.
func (m *Manager) DeleteFlavor(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, f *network.Flavor) error {
		routers, err := store.Select[network.Router](ctx, m.store, db.Where().Eq("flavor_id", id))
		if err != nil {
			return err
		}
		if len(routers) > 0 {
			return conflict("FlavorInUse", "Flavor %s is used by some service instance.", id)
		}
		for _, p := range f.Profiles {
			if _, err := m.store.LinkProfile(ctx, id, p, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// CreateServiceProfile makes a profile.
func (m *Manager) CreateServiceProfile(ctx context.Context, c network.Change) (*network.ServiceProfile, error) {
	return create(ctx, m, c, func(_ context.Context, p *network.ServiceProfile) error {
		if p.Driver == "" && p.Metainfo == "" {
			return bad("ServiceProfileEmpty", "Service Profile needs either a driver or metainfo.")
		}
		if p.Driver != "" && p.Driver != "ovn" {
			return fault.New(fault.NotFound, "Service Profile driver %s could not be found.", p.Driver).WithType("ServiceProfileDriverNotFound")
		}
		return nil
	})
}

// UpdateServiceProfile changes a profile.
func (m *Manager) UpdateServiceProfile(ctx context.Context, id string, c network.Change) (*network.ServiceProfile, error) {
	return update(ctx, m, id, c, func(context.Context, *network.ServiceProfile, *network.ServiceProfile) (bool, error) {
		return false, nil
	})
}

// DeleteServiceProfile deletes a profile that no flavor has.
func (m *Manager) DeleteServiceProfile(ctx context.Context, id string, ifMatch int) error {
	return remove(ctx, m, id, ifMatch, func(ctx context.Context, _ *network.ServiceProfile) error {
		flavors, err := store.Select[network.Flavor](ctx, m.store, db.Where().Raw("id IN (SELECT flavor_id FROM flavor_profiles WHERE profile_id = ?)", id))
		if err == nil && len(flavors) > 0 {
			return conflict("ServiceProfileInUse", "Service Profile %s is used by some service instance.", id)
		}
		return err
	})
}

// LinkProfile adds a profile to a flavor or takes it away.
func (m *Manager) LinkProfile(ctx context.Context, flavor, profile string, linked bool) error {
	return m.tx(ctx, func(ctx context.Context) error {
		if _, err := store.Get[network.Flavor](ctx, m.store, flavor); err != nil {
			return err
		}
		if _, err := store.Get[network.ServiceProfile](ctx, m.store, profile); err != nil {
			return err
		}
		n, err := m.store.LinkProfile(ctx, flavor, profile, linked)
		if db.IsUnique(err) {
			return conflict("FlavorServiceProfileBindingExists", "Service Profile %s is already associated with flavor %s.", profile, flavor)
		}
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "Service Profile %s is not associated with flavor %s.", profile, flavor).WithType("FlavorServiceProfileBindingNotFound")
		}
		return err
	})
}
