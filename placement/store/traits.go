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

// Traits lists traits by name.
func (s *Store) Traits(ctx context.Context, f placement.TraitFilter) ([]placement.Trait, error) {
	w := db.Where()
	if f.Prefix != "" {
		w.Like("name", db.Escape(f.Prefix)+"%")
	}
	if f.Names != nil {
		w.In("name", f.Names)
	}
	if f.Associated != nil {
		not := "NOT "
		if *f.Associated {
			not = ""
		}
		w.Raw(not + "EXISTS (SELECT 1 FROM provider_traits pt WHERE pt.trait = traits.name)")
	}
	where, args := w.SQL()
	return db.Select[placement.Trait](ctx, s.db, "SELECT * FROM traits"+where+" ORDER BY name", args...)
}

// Trait returns one trait.
func (s *Store) Trait(ctx context.Context, name string) (*placement.Trait, error) {
	t, err := db.Get[placement.Trait](ctx, s.db, "SELECT * FROM traits WHERE name = ?", name)
	if errors.Is(err, db.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "No such trait(s): %s.", name)
	}
	return t, err
}

// EnsureTrait adds a trait unless it is there; created tells which.
func (s *Store) EnsureTrait(ctx context.Context, name string) (t *placement.Trait, created bool, err error) {
	t, err = s.Trait(ctx, name)
	if !fault.Is(err, fault.NotFound) {
		return t, false, err
	}
	t = &placement.Trait{Name: name, UpdatedAt: db.Now()}
	err = db.Insert(ctx, s.db, "traits", t)
	if db.IsUnique(err) {
		return t, false, nil
	}
	return t, true, err
}

// DeleteTrait removes a trait that no provider has.
func (s *Store) DeleteTrait(ctx context.Context, name string) error {
	n, err := db.Delete(ctx, s.db, "traits", db.Where().Eq("name", name))
	if db.IsForeignKey(err) {
		return fault.Conflictf("The trait %s is in use by a resource provider.", name)
	}
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "No such trait(s): %s.", name)
	}
	return err
}

// ProviderTraits returns the traits of a provider, by name.
func (s *Store) ProviderTraits(ctx context.Context, uuid string) ([]placement.Trait, error) {
	return db.Select[placement.Trait](ctx, s.db, "SELECT t.name, t.updated_at FROM provider_traits pt JOIN traits t ON t.name = pt.trait WHERE pt.provider_uuid = ? ORDER BY t.name", uuid)
}

// SetProviderTraits makes names the traits of a provider. An unchanged set
// leaves the generation as it is.
func (s *Store) SetProviderTraits(ctx context.Context, uuid string, generation int, names []string) (*placement.Provider, error) {
	return s.setTraits(ctx, uuid, &generation, names)
}

// ClearProviderTraits takes all traits from a provider.
func (s *Store) ClearProviderTraits(ctx context.Context, uuid string) error {
	_, err := s.setTraits(ctx, uuid, nil, nil)
	return err
}

func (s *Store) setTraits(ctx context.Context, uuid string, generation *int, names []string) (*placement.Provider, error) {
	var p *placement.Provider
	err := s.tx(ctx, func(ctx context.Context) error {
		var err error
		if p, err = s.Provider(ctx, uuid); err != nil {
			return err
		}
		if generation != nil && p.Generation != *generation {
			return placement.GenerationConflict(uuid)
		}
		if err := s.knownTraits(ctx, names); err != nil {
			return err
		}
		have, err := s.names(ctx, "SELECT trait FROM provider_traits WHERE provider_uuid = ?", uuid)
		if err != nil {
			return err
		}
		var add [][]any
		for _, n := range names {
			if !have[n] {
				add = append(add, []any{uuid, n})
			}
			delete(have, n)
		}
		if len(add) == 0 && len(have) == 0 {
			return nil
		}
		if err := s.advance(ctx, uuid, p.Generation); err != nil {
			if generation == nil && fault.Is(err, fault.Conflict) {
				return errAgain
			}
			return err
		}
		p.Generation++
		return s.changeSet(ctx, "provider_traits", "trait", uuid, add, have)
	})
	return p, err
}

// changeSet adds rows to, and removes values from, a table of pairs.
func (s *Store) changeSet(ctx context.Context, table, column, uuid string, add [][]any, remove map[string]bool) error {
	for chunk := range slices.Chunk(add, 200) {
		q, args := values("INSERT INTO "+table+" (provider_uuid, "+column+") VALUES ", chunk)
		if _, err := db.Exec(ctx, s.db, q, args...); err != nil {
			return err
		}
	}
	if len(remove) == 0 {
		return nil
	}
	var gone []string
	for v := range remove {
		gone = append(gone, v)
	}
	_, err := db.Delete(ctx, s.db, table, db.Where().Eq("provider_uuid", uuid).In(column, gone))
	return err
}

func (s *Store) knownTraits(ctx context.Context, names []string) error {
	missing, err := s.missing(ctx, "traits", names)
	if err == nil && len(missing) > 0 {
		return fault.Invalidf("No such trait(s): %s.", strings.Join(missing, ", "))
	}
	return err
}

// missing returns those of the names that a table has not, sorted.
func (s *Store) missing(ctx context.Context, table string, names []string) ([]string, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var out []string
	for chunk := range slices.Chunk(names, 500) {
		known, err := s.names(ctx, "SELECT name FROM "+table+" WHERE name IN ("+marks(len(chunk))+")", anys(chunk)...)
		if err != nil {
			return nil, err
		}
		for _, n := range chunk {
			if !known[n] {
				out = append(out, n)
			}
		}
	}
	return out, nil
}
