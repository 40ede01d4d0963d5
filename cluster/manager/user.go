package manager

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/projects"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/roles"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/users"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
)

// UserPrefix begins the names of nodes' users in identity.
const UserPrefix = "node-"

// NodeRole is the only role of nodes' users, in the project of the services. The
// image service lets it read the images that guests start from, and fill those
// that snapshots make (image/api policy.go); no other service knows it. So a
// machine that runs guests is no admin of the cloud.
const NodeRole = "tropo_node"

// ensureUser makes the identity user of a node, enabled and with a new random
// password.
func (m *Manager) ensureUser(ctx context.Context, node string) (name, password string, err error) {
	if m.o.Session == nil {
		return "", "", nil
	}
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	name, password = UserPrefix+node, hex.EncodeToString(b)
	c, err := m.o.Session.Service(ctx, "identity")
	if err != nil {
		return "", "", err
	}
	id, err := findUser(ctx, c, name)
	if err != nil {
		return "", "", err
	}
	enabled := true
	if id == "" {
		u, err := users.Create(ctx, c, users.CreateOpts{
			Name: name, DomainID: "default", Password: password, Enabled: &enabled, Description: "The agents of the node " + node,
			Options: map[users.Option]any{users.IgnoreChangePasswordUponFirstUse: true, users.IgnorePasswordExpiry: true, users.IgnoreLockoutFailureAttempts: true},
		}).Extract()
		if err != nil {
			return "", "", auth.Fault(err)
		}
		id = u.ID
	} else if _, err := users.Update(ctx, c, id, users.UpdateOpts{Password: password, Enabled: &enabled}).Extract(); err != nil {
		return "", "", auth.Fault(err)
	}
	return name, password, grantService(ctx, c, id)
}

// disableUser ends what a node's user may do.
func (m *Manager) disableUser(ctx context.Context, node string) error {
	if m.o.Session == nil {
		return nil
	}
	c, err := m.o.Session.Service(ctx, "identity")
	if err != nil {
		return err
	}
	id, err := findUser(ctx, c, UserPrefix+node)
	if err != nil || id == "" {
		return err
	}
	enabled := false
	_, err = users.Update(ctx, c, id, users.UpdateOpts{Enabled: &enabled}).Extract()
	return auth.Fault(err)
}

func findUser(ctx context.Context, c *gophercloud.ServiceClient, name string) (string, error) {
	page, err := users.List(c, users.ListOpts{Name: name, DomainID: "default"}).AllPages(ctx)
	if err != nil {
		return "", auth.Fault(err)
	}
	list, err := users.ExtractUsers(page)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0].ID, nil
}

func grantService(ctx context.Context, c *gophercloud.ServiceClient, user string) error {
	page, err := projects.List(c, projects.ListOpts{Name: "service", DomainID: "default"}).AllPages(ctx)
	if err != nil {
		return auth.Fault(err)
	}
	list, err := projects.ExtractProjects(page)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fault.Unavailablef("Identity has no project named service yet.")
	}
	role, err := nodeRole(ctx, c)
	if err != nil {
		return err
	}
	return auth.Fault(roles.Assign(ctx, c, role, roles.AssignOpts{UserID: user, ProjectID: list[0].ID}).ExtractErr())
}

// nodeRole finds the role of nodes, or makes it for the first of them.
func nodeRole(ctx context.Context, c *gophercloud.ServiceClient) (string, error) {
	find := func() (string, error) {
		page, err := roles.List(c, roles.ListOpts{Name: NodeRole}).AllPages(ctx)
		if err != nil {
			return "", auth.Fault(err)
		}
		found, err := roles.ExtractRoles(page)
		if err != nil || len(found) == 0 {
			return "", err
		}
		return found[0].ID, nil
	}
	id, err := find()
	if err != nil || id != "" {
		return id, err
	}
	r, err := roles.Create(ctx, c, roles.CreateOpts{Name: NodeRole, Description: "The agents of nodes"}).Extract()
	if err = auth.Fault(err); fault.Is(err, fault.Conflict) { // another node's join was faster
		return find()
	}
	if err != nil {
		return "", err
	}
	return r.ID, nil
}
