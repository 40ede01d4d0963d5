package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// CreateNamespace adds a namespace with all it holds and fills in ids and times.
func (m *Manager) CreateNamespace(ctx context.Context, c *image.NamespaceContent) error {
	now := db.Now()
	c.ID, c.CreatedAt, c.UpdatedAt = db.NewID(ctx), now, now
	for i := range c.Definitions {
		d := &c.Definitions[i]
		d.NamespaceID, d.CreatedAt, d.UpdatedAt = c.ID, now, now
	}
	for i := range c.Associations {
		a := &c.Associations[i]
		a.NamespaceID, a.CreatedAt, a.UpdatedAt = c.ID, now, now
	}
	return m.store.CreateNamespace(ctx, c)
}

// Namespace returns a namespace that the viewer may know of.
func (m *Manager) Namespace(ctx context.Context, v image.Viewer, name string) (*image.Namespace, error) {
	n, err := m.store.Namespace(ctx, name)
	if err == nil && !n.Sees(v) {
		return nil, fault.New(fault.NotFound, "Metadata definition namespace not found for namespace=%s", name)
	}
	return n, err
}

// NamespaceContent returns all that a namespace holds.
func (m *Manager) NamespaceContent(ctx context.Context, n *image.Namespace) (*image.NamespaceContent, error) {
	c := &image.NamespaceContent{Namespace: *n}
	var err error
	if c.Definitions, err = m.store.Definitions(ctx, n.ID, "", 10*m.o.Config.LimitMax); err != nil {
		return nil, err
	}
	c.Associations, err = m.store.Associations(ctx, n.ID)
	return c, err
}

// Namespaces returns a page of namespaces with the types they are bound to.
func (m *Manager) Namespaces(ctx context.Context, v image.Viewer, visibility string, types []string, p db.Page) ([]image.NamespaceContent, error) {
	list, err := m.store.Namespaces(ctx, v, visibility, types, p)
	if err != nil {
		return nil, err
	}
	out := make([]image.NamespaceContent, len(list))
	for i := range list {
		out[i].Namespace = list[i]
		if out[i].Associations, err = m.store.Associations(ctx, list[i].ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// UpdateNamespace writes a changed namespace.
func (m *Manager) UpdateNamespace(ctx context.Context, n *image.Namespace) error {
	n.UpdatedAt = db.Now()
	return m.store.UpdateNamespace(ctx, n)
}

// DeleteNamespace removes a namespace with all it holds.
func (m *Manager) DeleteNamespace(ctx context.Context, n *image.Namespace) error {
	if err := unprotected(n); err != nil {
		return err
	}
	return m.store.DeleteNamespace(ctx, n)
}

func unprotected(n *image.Namespace) error {
	if n.Protected {
		return fault.Forbiddenf("Metadata definition namespace %s is protected and cannot be deleted.", n.Name)
	}
	return nil
}

// Definitions lists the definitions of a kind.
func (m *Manager) Definitions(ctx context.Context, n *image.Namespace, k image.Kind) ([]image.Definition, error) {
	return m.store.Definitions(ctx, n.ID, k, m.o.Config.LimitMax)
}

// Definition returns one definition.
func (m *Manager) Definition(ctx context.Context, n *image.Namespace, k image.Kind, name string) (*image.Definition, error) {
	return m.store.Definition(ctx, n.ID, k, name)
}

// CreateDefinitions adds definitions, all or none; replace removes the others
// of that kind first.
func (m *Manager) CreateDefinitions(ctx context.Context, n *image.Namespace, k image.Kind, list []image.Definition, replace bool) error {
	now := db.Now()
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if replace {
			if err := m.store.DeleteDefinitions(ctx, n.ID, k); err != nil {
				return err
			}
		}
		for i := range list {
			d := &list[i]
			d.NamespaceID, d.Kind, d.CreatedAt, d.UpdatedAt = n.ID, k, now, now
			if err := m.store.CreateDefinition(ctx, *d); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplaceDefinition writes d over the definition that was called name, and
// returns it as it stands then.
func (m *Manager) ReplaceDefinition(ctx context.Context, n *image.Namespace, name string, d image.Definition) (*image.Definition, error) {
	d.NamespaceID, d.UpdatedAt = n.ID, db.Now()
	if err := m.store.ReplaceDefinition(ctx, name, d); err != nil {
		return nil, err
	}
	return m.store.Definition(ctx, n.ID, d.Kind, d.Name)
}

// DeleteDefinition removes one definition; one of a protected namespace stays.
func (m *Manager) DeleteDefinition(ctx context.Context, n *image.Namespace, k image.Kind, name string) error {
	if err := unprotected(n); err != nil {
		return err
	}
	return m.store.DeleteDefinition(ctx, n.ID, k, name)
}

// DeleteDefinitions removes all definitions of a kind.
func (m *Manager) DeleteDefinitions(ctx context.Context, n *image.Namespace, k image.Kind) error {
	if err := unprotected(n); err != nil {
		return err
	}
	return m.store.DeleteDefinitions(ctx, n.ID, k)
}

// ResourceTypes lists the types that are known.
func (m *Manager) ResourceTypes(ctx context.Context) ([]image.ResourceType, error) {
	return m.store.ResourceTypes(ctx)
}

// Associate binds a namespace to a type of resource.
func (m *Manager) Associate(ctx context.Context, n *image.Namespace, a image.Association) (*image.Association, error) {
	a.NamespaceID, a.CreatedAt = n.ID, db.Now()
	a.UpdatedAt = a.CreatedAt
	return &a, m.store.Associate(ctx, a)
}

// Associations lists the types that a namespace is bound to.
func (m *Manager) Associations(ctx context.Context, n *image.Namespace) ([]image.Association, error) {
	return m.store.Associations(ctx, n.ID)
}

// Dissociate takes back Associate.
func (m *Manager) Dissociate(ctx context.Context, n *image.Namespace, resourceType string) error {
	if err := unprotected(n); err != nil {
		return err
	}
	return m.store.Dissociate(ctx, n.ID, resourceType)
}
