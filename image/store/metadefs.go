package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// CreateNamespace adds a namespace with all it holds; a name that is taken is
// fault.Conflict.
func (s *Store) CreateNamespace(ctx context.Context, c *image.NamespaceContent) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if err := db.Insert(ctx, s.db, "metadef_namespaces", c.Namespace); err != nil {
			if db.IsUnique(err) {
				return fault.Conflictf("The metadata definition namespace=%s already exists.", c.Name)
			}
			return err
		}
		for _, d := range c.Definitions {
			if err := s.CreateDefinition(ctx, d); err != nil {
				return err
			}
		}
		for _, a := range c.Associations {
			if err := s.Associate(ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
}

// Namespace returns a namespace by its name.
func (s *Store) Namespace(ctx context.Context, name string) (*image.Namespace, error) {
	n, err := db.Get[image.Namespace](ctx, s.db, "SELECT "+db.Columns[image.Namespace]("")+" FROM metadef_namespaces WHERE namespace = ?", name)
	return found(n, err, fault.New(fault.NotFound, "Metadata definition namespace not found for namespace=%s", name))
}

// Namespaces returns a page of the namespaces that v sees; visibility and
// types narrow it where they are not empty.
func (s *Store) Namespaces(ctx context.Context, v image.Viewer, visibility string, types []string, p db.Page) ([]image.Namespace, error) {
	w := db.Where()
	if !v.Admin {
		w.Raw("visibility = 'public' OR owner_id = ?", v.Project)
	}
	if visibility != "" {
		w.Eq("visibility", visibility)
	}
	if len(types) > 0 {
		in, args := db.Where().In("a.resource_type", types).Raw("a.namespace_id = metadef_namespaces.id").SQL()
		w.Raw("EXISTS (SELECT 1 FROM metadef_associations a"+in+")", args...)
	}
	p.ID = "namespace" // markers are names
	return db.SelectPage[image.Namespace](ctx, s.db, "metadef_namespaces", w, p)
}

// UpdateNamespace writes what may change of a namespace, its name included.
func (s *Store) UpdateNamespace(ctx context.Context, n *image.Namespace) error {
	rows, err := db.Update(ctx, s.db, "metadef_namespaces", db.Set{
		"namespace": n.Name, "display_name": n.DisplayName, "description": n.Description,
		"visibility": n.Visibility, "protected": n.Protected, "owner_id": n.Owner, "updated_at": n.UpdatedAt,
	}, db.ByID(n.ID))
	switch {
	case db.IsUnique(err):
		return fault.Conflictf("The metadata definition namespace=%s already exists.", n.Name)
	case err == nil && rows == 0:
		return fault.New(fault.NotFound, "Metadata definition namespace not found for namespace=%s", n.Name)
	}
	return err
}

// DeleteNamespace removes a namespace with all it holds, unless it is protected.
func (s *Store) DeleteNamespace(ctx context.Context, n *image.Namespace) error {
	rows, err := db.Delete(ctx, s.db, "metadef_namespaces", db.ByID(n.ID).Eq("protected", false))
	if err == nil && rows == 0 {
		return fault.Conflictf("Namespace %s was changed by another request; try again.", n.Name)
	}
	return err
}

func missingDefinition(k image.Kind, name string) error {
	return fault.New(fault.NotFound, "Metadata definition %s not found for %s.", k, name)
}

// CreateDefinition adds a definition; a name that is taken is fault.Conflict.
func (s *Store) CreateDefinition(ctx context.Context, d image.Definition) error {
	err := db.Insert(ctx, s.db, "metadef_definitions", d)
	if db.IsUnique(err) {
		return fault.Conflictf("A metadata definition %s with name=%s already exists.", d.Kind, d.Name)
	}
	return err
}

// Definition returns one definition.
func (s *Store) Definition(ctx context.Context, namespaceID string, k image.Kind, name string) (*image.Definition, error) {
	d, err := db.Get[image.Definition](ctx, s.db, "SELECT "+db.Columns[image.Definition]("")+" FROM metadef_definitions WHERE namespace_id = ? AND kind = ? AND name = ?", namespaceID, k, name)
	return found(d, err, missingDefinition(k, name))
}

// Definitions lists up to limit definitions of a kind ("": of all) by name.
func (s *Store) Definitions(ctx context.Context, namespaceID string, k image.Kind, limit int) ([]image.Definition, error) {
	w := db.Where().Eq("namespace_id", namespaceID)
	if k != "" {
		w.Eq("kind", k)
	}
	return db.SelectPage[image.Definition](ctx, s.db, "metadef_definitions", w, db.Page{Limit: limit, ID: "name"})
}

// ReplaceDefinition writes d over the definition that was called name.
func (s *Store) ReplaceDefinition(ctx context.Context, name string, d image.Definition) error {
	n, err := db.Update(ctx, s.db, "metadef_definitions", db.Set{"name": d.Name, "document": d.Document, "updated_at": d.UpdatedAt},
		db.Where().Eq("namespace_id", d.NamespaceID).Eq("kind", d.Kind).Eq("name", name))
	switch {
	case db.IsUnique(err):
		return fault.Conflictf("A metadata definition %s with name=%s already exists.", d.Kind, d.Name)
	case err == nil && n == 0:
		return missingDefinition(d.Kind, name)
	}
	return err
}

// DeleteDefinition removes one definition.
func (s *Store) DeleteDefinition(ctx context.Context, namespaceID string, k image.Kind, name string) error {
	n, err := db.Delete(ctx, s.db, "metadef_definitions", db.Where().Eq("namespace_id", namespaceID).Eq("kind", k).Eq("name", name))
	if err == nil && n == 0 {
		return missingDefinition(k, name)
	}
	return err
}

// DeleteDefinitions removes all definitions of a kind.
func (s *Store) DeleteDefinitions(ctx context.Context, namespaceID string, k image.Kind) error {
	_, err := db.Delete(ctx, s.db, "metadef_definitions", db.Where().Eq("namespace_id", namespaceID).Eq("kind", k))
	return err
}

// KnowResourceTypes adds the types that are not known yet.
func (s *Store) KnowResourceTypes(ctx context.Context, names []string) error {
	now := db.Now()
	have, err := s.ResourceTypes(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, t := range have {
		known[t.Name] = true
	}
	for _, n := range names {
		if known[n] {
			continue
		}
		if err := db.Upsert(ctx, s.db, "metadef_resource_types", image.ResourceType{Name: n, CreatedAt: now, UpdatedAt: now}, "name"); err != nil {
			return err
		}
	}
	return nil
}

// ResourceTypes lists the types that are known, by name.
func (s *Store) ResourceTypes(ctx context.Context) ([]image.ResourceType, error) {
	return db.SelectPage[image.ResourceType](ctx, s.db, "metadef_resource_types", nil, db.Page{Limit: 1000, ID: "name"})
}

// Associate binds a namespace to a type of resource, which becomes known by it.
func (s *Store) Associate(ctx context.Context, a image.Association) error {
	return s.db.Tx(ctx, func(ctx context.Context) error {
		if err := s.KnowResourceTypes(ctx, []string{a.ResourceType}); err != nil {
			return err
		}
		err := db.Insert(ctx, s.db, "metadef_associations", a)
		if db.IsUnique(err) {
			return fault.Conflictf("The association with the resource type %s already exists.", a.ResourceType)
		}
		return err
	})
}

// Associations lists the types that a namespace is bound to.
func (s *Store) Associations(ctx context.Context, namespaceID string) ([]image.Association, error) {
	return db.SelectPage[image.Association](ctx, s.db, "metadef_associations", db.Where().Eq("namespace_id", namespaceID),
		db.Page{Limit: 1000, ID: "resource_type"})
}

// Dissociate takes back Associate.
func (s *Store) Dissociate(ctx context.Context, namespaceID, resourceType string) error {
	n, err := db.Delete(ctx, s.db, "metadef_associations", db.Where().Eq("namespace_id", namespaceID).Eq("resource_type", resourceType))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "The association with the resource type %s was not found.", resourceType)
	}
	return err
}
