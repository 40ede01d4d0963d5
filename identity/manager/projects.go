package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/store"
)

// TagFilter narrows a list of projects by tags.
type TagFilter = store.TagFilter

// Project returns a project or a domain, with its tags.
func (m *Manager) Project(ctx context.Context, id string) (*identity.Project, error) {
	p, err := m.store.Projects.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	list := []identity.Project{*p}
	return &list[0], m.fillTags(ctx, list)
}

// Domain returns a domain.
func (m *Manager) Domain(ctx context.Context, id string) (*identity.Project, error) {
	p, err := m.store.Projects.Get(ctx, id)
	if err != nil || !p.IsDomain {
		return nil, fault.New(fault.NotFound, "Could not find domain: %s.", id)
	}
	list := []identity.Project{*p}
	return &list[0], m.fillTags(ctx, list)
}

func (m *Manager) fillTags(ctx context.Context, list []identity.Project) error {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	tags, err := m.store.Tags(ctx, ids)
	for i := range list {
		list[i].Tags = tags[list[i].ID]
	}
	return err
}

// Projects lists projects, or domains where the query says is_domain.
func (m *Manager) Projects(ctx context.Context, q identity.Query, tags TagFilter) ([]identity.Project, error) {
	list, err := m.store.ListProjects(ctx, q, tags)
	if err != nil {
		return nil, err
	}
	return list, m.fillTags(ctx, list)
}

// Ancestors returns what is above a project, its domain last.
func (m *Manager) Ancestors(ctx context.Context, p *identity.Project) ([]identity.Project, error) {
	up, err := m.store.Ancestors(ctx, p)
	if err != nil {
		return nil, err
	}
	return up, m.fillTags(ctx, up)
}

// Subtree returns what is below a project, level by level.
func (m *Manager) Subtree(ctx context.Context, id string) ([]identity.Project, error) {
	list, err := m.store.Subtree(ctx, id)
	if err != nil {
		return nil, err
	}
	return list, m.fillTags(ctx, list)
}

// CreateProject stores a project, or a domain if IsDomain is set. A project
// without parent stands below its domain.
func (m *Manager) CreateProject(ctx context.Context, p identity.Project) (*identity.Project, error) {
	if p.ID == "" {
		p.ID = rowID(ctx)
	}
	if p.IsDomain {
		p.DomainID, p.ParentID = "", ""
	}
	tx := m.store.Tx
	if p.IsDomain { // a file may say where its users are
		tx = m.change
	}
	err := tx(ctx, func(ctx context.Context) error {
		if !p.IsDomain {
			if err := m.placeProject(ctx, &p); err != nil {
				return err
			}
		}
		if err := m.store.Projects.Create(ctx, &p); err != nil {
			return err
		}
		for _, t := range p.Tags {
			if err := m.store.AddTag(ctx, p.ID, t); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.Project(ctx, p.ID)
}

// placeProject checks the parent and the domain of a new project and fills in
// the one that was not given.
func (m *Manager) placeProject(ctx context.Context, p *identity.Project) error {
	if p.ParentID == "" {
		p.ParentID = p.DomainID
	}
	parent, err := gone(m.store.Projects.Get(ctx, p.ParentID))
	if err != nil {
		return err
	}
	if parent == nil {
		return fault.New(fault.NotFound, "Could not find project: %s.", p.ParentID)
	}
	if p.DomainID == "" {
		p.DomainID = parent.OwnerDomain()
	}
	if p.DomainID != parent.OwnerDomain() {
		return fault.Invalidf("Invalid parent: the parent project is in another domain.")
	}
	if !parent.Enabled {
		return fault.Invalidf("Cannot create project: parent %s is disabled.", parent.ID)
	}
	if parent.IsDomain {
		return nil
	}
	up, err := m.store.Ancestors(ctx, parent)
	if err == nil && len(up)+1 > m.cfg.MaxProjectTreeDepth {
		return fault.Forbiddenf("Max hierarchy depth reached for %s branch.", parent.ID)
	}
	return err
}

// UpdateProject stores the differences of after to before, tags included.
// Disabling ends the tokens of the project, and of all below it.
func (m *Manager) UpdateProject(ctx context.Context, before, after *identity.Project) (*identity.Project, error) {
	if err := guardImmutable(before.Options, after.Options, noun(before), before.ID); err != nil {
		return nil, err
	}
	switch {
	case after.ParentID != before.ParentID:
		return nil, fault.Forbiddenf("Update of `parent_id` is not allowed.")
	case after.DomainID != before.DomainID:
		return nil, fault.Invalidf("Update of `domain_id` is not allowed.")
	case after.IsDomain != before.IsDomain:
		return nil, fault.Invalidf("Update of `is_domain` is not allowed.")
	}
	off := before.Enabled && !after.Enabled
	err := m.change(ctx, func(ctx context.Context) error {
		if after.Enabled && !before.Enabled && !before.IsDomain {
			if err := m.parentsEnabled(ctx, before); err != nil {
				return err
			}
		}
		if off && !before.IsDomain {
			if err := m.subtreeDisabled(ctx, before.ID); err != nil {
				return err
			}
		}
		if err := m.store.Projects.Update(ctx, before.ID, before, after); err != nil {
			return err
		}
		if !slices.Equal(before.Tags, after.Tags) {
			if err := m.replaceTags(ctx, before.ID, after.Tags); err != nil {
				return err
			}
		}
		if !off {
			return nil
		}
		if before.IsDomain {
			return m.revoke(ctx, identity.Revocation{DomainID: identity.Ref(before.ID)})
		}
		return m.revoke(ctx, identity.Revocation{ProjectID: identity.Ref(before.ID)})
	})
	if err != nil {
		return nil, err
	}
	return m.Project(ctx, before.ID)
}

func noun(p *identity.Project) string {
	if p.IsDomain {
		return "domain"
	}
	return "project"
}

func (m *Manager) parentsEnabled(ctx context.Context, p *identity.Project) error {
	up, err := m.store.Ancestors(ctx, p)
	for _, a := range up {
		if !a.Enabled {
			return fault.Forbiddenf("Cannot enable project %s since it has disabled parents.", p.ID)
		}
	}
	return err
}

func (m *Manager) subtreeDisabled(ctx context.Context, id string) error {
	down, err := m.store.Subtree(ctx, id)
	for _, c := range down {
		if c.Enabled {
			return fault.Forbiddenf("Cannot disable project %s since its subtree contains enabled projects.", id)
		}
	}
	return err
}

// DeleteProject removes a project without children, with what belongs to it.
// A domain must be disabled first; all that is in it goes with it.
func (m *Manager) DeleteProject(ctx context.Context, p *identity.Project) error {
	if err := guardImmutable(p.Options, nil, noun(p), p.ID); err != nil {
		return err
	}
	if p.IsDomain {
		return m.deleteDomain(ctx, p)
	}
	return m.change(ctx, func(ctx context.Context) error {
		down, err := m.store.Subtree(ctx, p.ID)
		if err != nil {
			return err
		}
		if len(down) > 0 {
			return fault.Forbiddenf("Cannot delete the project %s since it is not a leaf in the hierarchy. Use the cascade option if you want to delete a whole subtree.", p.ID)
		}
		return m.deleteProject(ctx, p.ID)
	})
}

// CascadeProject deletes a disabled project with its disabled subtree, or
// with enabled set changes their state together.
func (m *Manager) CascadeProject(ctx context.Context, p *identity.Project) error {
	return m.change(ctx, func(ctx context.Context) error {
		down, err := m.store.Subtree(ctx, p.ID)
		if err != nil {
			return err
		}
		for _, c := range append(down, *p) {
			if c.Enabled {
				return fault.Forbiddenf("Cannot delete project %s since it is not disabled with its subtree.", c.ID)
			}
		}
		for _, c := range slices.Backward(down) {
			if err := m.deleteProject(ctx, c.ID); err != nil {
				return err
			}
		}
		return m.deleteProject(ctx, p.ID)
	})
}

func (m *Manager) deleteProject(ctx context.Context, id string) error {
	if err := m.store.RemoveAssignments(ctx, "target_id", id); err != nil {
		return err
	}
	if _, err := m.store.Credentials.DeleteWhere(ctx, identity.By("project_id", id)); err != nil {
		return err
	}
	if _, err := m.store.AppCredentials.DeleteWhere(ctx, identity.By("project_id", id)); err != nil {
		return err
	}
	if err := m.endTrusts(ctx, "project_id", id); err != nil {
		return err
	}
	if err := m.store.ForgetDefaultProject(ctx, id); err != nil {
		return err
	}
	if err := m.store.Projects.Delete(ctx, id); err != nil {
		return err
	}
	return m.revoke(ctx, identity.Revocation{ProjectID: identity.Ref(id)})
}

func (m *Manager) deleteDomain(ctx context.Context, d *identity.Project) error {
	if d.Enabled {
		return fault.Forbiddenf("Cannot delete a domain that is enabled, please disable it first.")
	}
	if d.ID == m.cfg.Identity.DefaultDomainID {
		return fault.Forbiddenf("Cannot delete the default domain.")
	}
	return m.change(ctx, func(ctx context.Context) error {
		down, err := m.store.Subtree(ctx, d.ID)
		if err != nil {
			return err
		}
		for _, c := range slices.Backward(down) {
			if err := m.deleteProject(ctx, c.ID); err != nil {
				return err
			}
		}
		if err := m.store.RemoveMapped(ctx, d.ID); err != nil {
			return err
		}
		users, err := m.store.Users.List(ctx, identity.By("domain_id", d.ID))
		if err != nil {
			return err
		}
		for _, u := range users {
			if err := m.deleteUser(ctx, u.ID); err != nil {
				return err
			}
		}
		groups, err := m.store.Groups.List(ctx, identity.By("domain_id", d.ID))
		if err != nil {
			return err
		}
		for _, g := range groups {
			if err := m.store.RemoveAssignments(ctx, "actor_id", g.ID); err != nil {
				return err
			}
		}
		if _, err := m.store.Groups.DeleteWhere(ctx, identity.By("domain_id", d.ID)); err != nil {
			return err
		}
		if _, err := m.store.Roles.DeleteWhere(ctx, identity.By("domain_id", d.ID)); err != nil {
			return err
		}
		if _, err := m.store.Providers.DeleteWhere(ctx, identity.By("domain_id", d.ID)); err != nil {
			return err
		}
		if err := m.store.RemoveAssignments(ctx, "target_id", d.ID); err != nil {
			return err
		}
		if err := m.store.Projects.Delete(ctx, d.ID); err != nil {
			return err
		}
		return m.revoke(ctx, identity.Revocation{DomainID: identity.Ref(d.ID)})
	})
}

// SetTags replaces the tags of a project.
func (m *Manager) SetTags(ctx context.Context, id string, tags []string) error {
	return m.store.Tx(ctx, func(ctx context.Context) error { return m.replaceTags(ctx, id, tags) })
}

func (m *Manager) replaceTags(ctx context.Context, id string, tags []string) error {
	if _, err := m.store.RemoveTag(ctx, id, ""); err != nil {
		return err
	}
	for _, t := range tags {
		if err := m.store.AddTag(ctx, id, t); err != nil {
			return err
		}
	}
	return nil
}

// maxTags bounds the tags of a project.
const maxTags = 80

// AddTag tags a project; one that it has is kept.
func (m *Manager) AddTag(ctx context.Context, p *identity.Project, tag string) error {
	if len(p.Tags) >= maxTags && !slices.Contains(p.Tags, tag) {
		return fault.Invalidf("A project has at most %d tags.", maxTags)
	}
	return m.store.AddTag(ctx, p.ID, tag)
}

// RemoveTag takes a tag from a project; fault.NotFound where it has not got it.
func (m *Manager) RemoveTag(ctx context.Context, id, tag string) error {
	n, err := m.store.RemoveTag(ctx, id, tag)
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Could not find project tag: %s.", tag)
	}
	return err
}
