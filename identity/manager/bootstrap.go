package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// BootstrapUser is a service's own user.
type BootstrapUser struct {
	Name     string
	Password string
	// HashRounds is the cost of the password's hash; 0: the configured one.
	// A random password of 256 bits needs none.
	HashRounds int
}

// BootstrapService is an entry of the catalog with its three addresses; an
// empty one is not made.
type BootstrapService struct{ Type, Name, Public, Internal, Admin string }

// BootstrapOptions say what a new cloud starts with.
type BootstrapOptions struct {
	AdminPassword string
	// AdminHashRounds is the cost of the admin's hash; 0: the configured one.
	AdminHashRounds int
	Region          string // default "RegionOne"
	Users           []BootstrapUser
	Services        []BootstrapService
}

// Bootstrap makes what a cloud needs before its first request: the default
// domain, the project and user admin, the roles with what they imply, the
// project service with its users, the region and the catalog. What exists is
// kept, but for passwords and addresses that differ; so it may run again.
func (m *Manager) Bootstrap(ctx context.Context, o BootstrapOptions) error {
	if o.Region == "" {
		o.Region = "RegionOne"
	}
	b := &bootstrap{m: m, domain: m.cfg.Identity.DefaultDomainID}
	admin, err := b.user(ctx, BootstrapUser{Name: "admin", Password: o.AdminPassword, HashRounds: o.AdminHashRounds})
	if err != nil {
		return err
	}
	var users []*preparedUser
	for _, u := range o.Users {
		p, err := b.user(ctx, u)
		if err != nil {
			return err
		}
		users = append(users, p)
	}
	return m.change(ctx, func(ctx context.Context) error {
		if err := b.base(ctx, admin); err != nil {
			return err
		}
		for _, u := range users {
			if err := b.serviceUser(ctx, u); err != nil {
				return err
			}
		}
		return b.catalog(ctx, o.Region, o.Services)
	})
}

// bootstrap is one run.
type bootstrap struct {
	m      *Manager
	domain string
	roles  map[string]string
}

// preparedUser has its password hashed, which is too slow for a transaction.
type preparedUser struct {
	name, password, hash string
	keep                 bool // the password in force is the same
}

func (b *bootstrap) user(ctx context.Context, u BootstrapUser) (*preparedUser, error) {
	p := &preparedUser{name: u.Name, password: u.Password}
	old, err := gone(b.m.store.Users.One(ctx, identity.By("unique_name", u.Name).And("domain_id", b.domain)))
	if err != nil {
		return nil, err
	}
	if old != nil {
		pws, err := b.m.store.PasswordsOf(ctx, old.ID)
		if err != nil {
			return nil, err
		}
		if len(pws) > 0 {
			if p.keep, err = b.m.hash.Verify(u.Password, pws[0].Hash); err != nil || p.keep {
				return p, err
			}
		}
	}
	if u.HashRounds > 0 {
		p.hash, err = b.m.hash.HashCost(u.Password, u.HashRounds)
	} else {
		p.hash, err = b.m.hash.Hash(u.Password)
	}
	return p, err
}

func (b *bootstrap) project(ctx context.Context, p identity.Project) (string, error) {
	old, err := gone(b.m.store.Projects.One(ctx, identity.By("name", p.Name).And("domain_id", p.DomainID).And("is_domain", p.IsDomain)))
	if err != nil || old != nil {
		if old != nil {
			return old.ID, err
		}
		return "", err
	}
	if p.ID == "" {
		p.ID = NewID()
	}
	p.Enabled = true
	return p.ID, b.m.store.Projects.Create(ctx, &p)
}

func (b *bootstrap) ensureUser(ctx context.Context, p *preparedUser) (string, error) {
	u, err := gone(b.m.store.Users.One(ctx, identity.By("unique_name", p.name).And("domain_id", b.domain)))
	if err != nil {
		return "", err
	}
	if u == nil {
		u = &identity.User{
			ID: NewID(), Name: p.name, UniqueName: p.name, DomainID: b.domain, Enabled: true, CreatedAt: b.m.now(),
			Options: identity.Extra{identity.OptionIgnoreChangePassword: true, identity.OptionIgnorePasswordExpiry: true, identity.OptionIgnoreLockout: true},
		}
		if err := b.m.store.Users.Create(ctx, u); err != nil {
			return "", err
		}
	}
	if p.keep {
		return u.ID, nil
	}
	return u.ID, b.m.setPassword(ctx, u, p.password, p.hash, false)
}

func (b *bootstrap) base(ctx context.Context, admin *preparedUser) error {
	if _, err := b.project(ctx, identity.Project{ID: b.domain, Name: "Default", Description: "The default domain", IsDomain: true}); err != nil {
		return err
	}
	project, err := b.project(ctx, identity.Project{Name: "admin", Description: "Bootstrap project for initializing the cloud.", DomainID: b.domain, ParentID: b.domain})
	if err != nil {
		return err
	}
	if _, err := b.project(ctx, identity.Project{Name: "service", Description: "The users of the services", DomainID: b.domain, ParentID: b.domain}); err != nil {
		return err
	}
	if err := b.ensureRoles(ctx); err != nil {
		return err
	}
	id, err := b.ensureUser(ctx, admin)
	if err != nil {
		return err
	}
	return b.grant(ctx, id, "admin", identity.TargetProject, project, identity.TargetSystem, identity.SystemAll)
}

func (b *bootstrap) ensureRoles(ctx context.Context) error {
	b.roles = map[string]string{}
	for _, name := range []string{"admin", "manager", "member", "reader", "service"} {
		r, err := gone(b.m.store.Roles.One(ctx, identity.By("name", name).And("domain_id", "")))
		if err != nil {
			return err
		}
		if r == nil {
			r = &identity.Role{ID: NewID(), Name: name}
			if err := b.m.store.Roles.Create(ctx, r); err != nil {
				return err
			}
		}
		b.roles[name] = r.ID
	}
	for _, i := range [][2]string{{"admin", "manager"}, {"manager", "member"}, {"member", "reader"}} {
		if err := b.m.store.Imply(ctx, identity.Implication{PriorID: b.roles[i[0]], ImpliedID: b.roles[i[1]]}); err != nil {
			return err
		}
	}
	return nil
}

// grant gives a user a role on targets, given as pairs of type and id.
func (b *bootstrap) grant(ctx context.Context, user, role string, targets ...string) error {
	for i := 0; i < len(targets); i += 2 {
		a := identity.Assignment{ActorType: identity.ActorUser, ActorID: user, TargetType: targets[i], TargetID: targets[i+1], RoleID: b.roles[role]}
		if err := b.m.store.Grant(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (b *bootstrap) serviceUser(ctx context.Context, u *preparedUser) error {
	id, err := b.ensureUser(ctx, u)
	if err != nil {
		return err
	}
	p, err := b.m.store.Projects.One(ctx, identity.By("name", "service").And("domain_id", b.domain).And("is_domain", false))
	if err != nil {
		return err
	}
	if err := b.grant(ctx, id, "admin", identity.TargetProject, p.ID); err != nil {
		return err
	}
	return b.grant(ctx, id, "service", identity.TargetProject, p.ID)
}

func (b *bootstrap) catalog(ctx context.Context, region string, services []BootstrapService) error {
	if _, err := b.m.store.Regions.Get(ctx, region); fault.Is(err, fault.NotFound) {
		if err := b.m.store.Regions.Create(ctx, &identity.Region{ID: region}); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	for _, s := range services {
		old, err := gone(b.m.store.Services.One(ctx, identity.By("service_type", s.Type).And("name", s.Name)))
		if err != nil {
			return err
		}
		if old == nil {
			old = &identity.Service{ID: NewID(), Type: s.Type, Name: s.Name, Enabled: true}
			if err := b.m.store.Services.Create(ctx, old); err != nil {
				return err
			}
		}
		for _, e := range [][2]string{{"public", s.Public}, {"internal", s.Internal}, {"admin", s.Admin}} {
			if err := b.endpoint(ctx, old.ID, region, e[0], e[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bootstrap) endpoint(ctx context.Context, service, region, iface, url string) error {
	if url == "" {
		return nil
	}
	old, err := gone(b.m.store.Endpoints.One(ctx, identity.By("service_id", service).And("region_id", region).And("interface", iface)))
	if err != nil {
		return err
	}
	if old == nil {
		return b.m.store.Endpoints.Create(ctx, &identity.Endpoint{ID: NewID(), ServiceID: service, RegionID: identity.Ref(region), Interface: iface, URL: url, Enabled: true})
	}
	after := *old
	after.URL, after.Enabled = url, true
	return b.m.store.Endpoints.Update(ctx, old.ID, old, &after)
}
