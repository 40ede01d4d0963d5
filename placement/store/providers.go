package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// Provider returns one provider, or placement.NoProvider.
func (s *Store) Provider(ctx context.Context, uuid string) (*placement.Provider, error) {
	p, err := db.Get[placement.Provider](ctx, s.db, "SELECT * FROM providers WHERE uuid = ?", uuid)
	if errors.Is(err, db.ErrNoRows) {
		return nil, placement.NoProvider(uuid)
	}
	return p, err
}

// CreateProvider adds a provider; its root and times are set here. A parent
// that does not exist is fault.Invalid, a name or UUID in use a Conflict.
func (s *Store) CreateProvider(ctx context.Context, p *placement.Provider) error {
	err := s.tx(ctx, func(ctx context.Context) error {
		p.RootUUID, p.Generation, p.Revision = p.UUID, 0, revision()
		p.CreatedAt = db.Now()
		p.UpdatedAt = p.CreatedAt
		if p.ParentUUID != nil {
			root, err := s.lockParent(ctx, *p.ParentUUID)
			if err != nil {
				return err
			}
			p.RootUUID = root
		}
		return db.Insert(ctx, s.db, "providers", p)
	})
	if db.IsUnique(err) {
		return s.duplicate(ctx, p)
	}
	return err
}

// lockParent keeps a parent's place in its tree for the transaction and
// returns its root.
func (s *Store) lockParent(ctx context.Context, uuid string) (string, error) {
	if err := s.touch(ctx, []string{uuid}, never); err != nil {
		return "", err
	}
	parent, err := s.Provider(ctx, uuid)
	if fault.Is(err, fault.NotFound) {
		return "", fault.Invalidf("Unable to create or update resource provider: parent provider UUID '%s' does not exist.", uuid)
	}
	if err != nil {
		return "", err
	}
	return parent.RootUUID, nil
}

func (s *Store) duplicate(ctx context.Context, p *placement.Provider) error {
	n, err := db.Count(ctx, s.db, "SELECT count(*) FROM providers WHERE uuid = ?", p.UUID)
	if err != nil {
		return err
	}
	if n > 0 {
		return placement.DuplicateName("resource provider uuid:", p.UUID)
	}
	return placement.DuplicateName("resource provider name:", p.Name)
}

func never(string) bool  { return false }
func always(string) bool { return true }

// UpdateProvider changes a provider's name and, where change is given, its
// parent. The whole subtree moves along.
func (s *Store) UpdateProvider(ctx context.Context, uuid, name string, change *placement.ParentChange) (*placement.Provider, error) {
	var p *placement.Provider
	err := s.tx(ctx, func(ctx context.Context) error {
		var err error
		if p, err = s.Provider(ctx, uuid); err != nil {
			return err
		}
		if change != nil {
			err = s.reparent(ctx, p, change)
		} else {
			err = s.touch(ctx, []string{uuid}, never)
		}
		if err != nil {
			return err
		}
		p.Name, p.UpdatedAt = name, db.Now()
		n, err := db.Update(ctx, s.db, "providers", db.Set{"name": name}, db.Where().Eq("uuid", uuid))
		if err == nil && n == 0 {
			return placement.NoProvider(uuid)
		}
		return err
	})
	if db.IsUnique(err) {
		return nil, placement.DuplicateName("resource provider name:", name)
	}
	return p, err
}

func (s *Store) reparent(ctx context.Context, p *placement.Provider, change *placement.ParentChange) error {
	to := ""
	if change.Parent != nil {
		to = *change.Parent
	}
	if p.Parent() == to {
		return s.touch(ctx, []string{p.UUID}, never)
	}
	if p.ParentUUID != nil && !change.Move {
		if to == "" {
			return fault.Invalidf("Unable to update resource provider %s: un-parenting a provider is not currently allowed.", p.UUID)
		}
		return fault.Invalidf("Unable to update resource provider %s: re-parenting a provider is not currently allowed.", p.UUID)
	}
	target := p.UUID // the new root
	if to != "" {
		parent, err := s.Provider(ctx, to)
		if fault.Is(err, fault.NotFound) {
			return fault.Invalidf("Unable to update resource provider %s: parent provider UUID does not exist.", p.UUID)
		}
		if err != nil {
			return err
		}
		target = parent.RootUUID
	}
	return s.move(ctx, p, to, target)
}

// move hangs p's subtree under another parent. Both trees are locked first:
// two moves at once could otherwise make a circle. Their roots come before the
// rest and in one order, so that moves wait for each other at the roots.
func (s *Store) move(ctx context.Context, p *placement.Provider, to, target string) error {
	if err := s.touch(ctx, []string{p.RootUUID, target}, never); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, s.db, "UPDATE providers SET revision = ? WHERE root_uuid IN (?, ?)", revision(), p.RootUUID, target); err != nil {
		return err
	}
	tree, err := db.Select[placement.Provider](ctx, s.db, "SELECT * FROM providers WHERE root_uuid IN (?, ?)", p.RootUUID, target)
	if err != nil {
		return err
	}
	children := map[string][]string{}
	now := map[string]*placement.Provider{}
	for i, t := range tree {
		children[t.Parent()] = append(children[t.Parent()], t.UUID)
		now[t.UUID] = &tree[i]
	}
	me := now[p.UUID]
	if me == nil || me.RootUUID != p.RootUUID || me.Parent() != p.Parent() || to != "" && (now[to] == nil || now[to].RootUUID != target) {
		return errAgain // moved between the reading and the locking
	}
	subtree := []string{p.UUID}
	for i := 0; i < len(subtree); i++ {
		subtree = append(subtree, children[subtree[i]]...)
	}
	if slices.Contains(subtree, to) {
		return fault.Invalidf("Unable to update resource provider %s: creating loop in the provider tree is not allowed.", p.UUID)
	}
	p.ParentUUID, p.RootUUID, p.Generation = orNull(to), target, me.Generation
	if _, err := db.Update(ctx, s.db, "providers", db.Set{"parent_uuid": p.ParentUUID}, db.Where().Eq("uuid", p.UUID)); err != nil {
		return err
	}
	for _, u := range subtree {
		if _, err := db.Update(ctx, s.db, "providers", db.Set{"root_uuid": target, "revision": revision()}, db.Where().Eq("uuid", u)); err != nil {
			return err
		}
	}
	return nil
}

// orNull is a parent as its column has it: NULL for none.
func orNull(to string) *string {
	if to == "" {
		return nil
	}
	return &to
}

// DeleteProvider removes a provider with its inventory, traits and
// aggregates. One with children or allocations is a Conflict.
func (s *Store) DeleteProvider(ctx context.Context, uuid string) error {
	err := s.tx(ctx, func(ctx context.Context) error {
		if err := s.touch(ctx, []string{uuid}, never); err != nil {
			return err
		}
		children, err := db.Count(ctx, s.db, "SELECT count(*) FROM providers WHERE parent_uuid = ?", uuid)
		if err != nil {
			return err
		}
		if children > 0 {
			return cannotDeleteParent(uuid)
		}
		used, err := db.Count(ctx, s.db, "SELECT count(*) FROM allocations WHERE provider_uuid = ?", uuid)
		if err != nil {
			return err
		}
		if used > 0 {
			return inUse(uuid)
		}
		for _, table := range []string{"inventories", "provider_traits", "provider_aggregates"} {
			if _, err := db.Delete(ctx, s.db, table, db.Where().Eq("provider_uuid", uuid)); err != nil {
				return err
			}
		}
		n, err := db.Delete(ctx, s.db, "providers", db.Where().Eq("uuid", uuid))
		if err == nil && n == 0 {
			return fault.New(fault.NotFound, "No resource provider with uuid %s found for delete", uuid)
		}
		return err
	})
	if db.IsForeignKey(err) { // came while we were deleting
		if strings.Contains(err.Error(), "allocations") {
			return inUse(uuid)
		}
		return cannotDeleteParent(uuid)
	}
	return err
}

func cannotDeleteParent(uuid string) error {
	return fault.Conflictf("Unable to delete parent resource provider %s: It has child resource providers.", uuid).WithType(placement.CodeCannotDeleteParent)
}

func inUse(uuid string) error {
	return fault.Conflictf("Unable to delete resource provider %s: Resource provider has allocations.", uuid).WithType(placement.CodeProviderInUse)
}
