package store

import (
	"cmp"
	"context"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
)

// SetAllocations makes each claim the whole of what its consumer holds, all of
// them or none. New consumers without a project or user of their own get
// standIn's.
//
// Claims on the same provider wait for each other (they all write its row
// before they look at what is used), so that what is checked still holds when
// it is written. Consumers are locked before providers and both in the order
// of their UUIDs, so that claims do not deadlock.
//
// Conflicts: a consumer's generation (CodeConcurrentUpdate), inventory that is
// missing, has no room, or does not allow the amount.
func (s *Store) SetAllocations(ctx context.Context, claims []placement.Claim, standIn placement.Consumer) error {
	return s.tx(ctx, func(ctx context.Context) error {
		return s.replace(ctx, claims, standIn, nil)
	})
}

// Reshape replaces whole inventories and allocations at once. An inventory's
// generation is compared with the provider's.
func (s *Store) Reshape(ctx context.Context, shapes []placement.Shape, claims []placement.Claim, standIn placement.Consumer) error {
	return s.tx(ctx, func(ctx context.Context) error {
		return s.replace(ctx, claims, standIn, shapes)
	})
}

func (s *Store) replace(ctx context.Context, claims []placement.Claim, standIn placement.Consumer, shapes []placement.Shape) error {
	claims = slices.Clone(claims)
	slices.SortFunc(claims, func(a, b placement.Claim) int { return cmp.Compare(a.ConsumerUUID, b.ConsumerUUID) })
	consumers := make([]string, len(claims))
	fresh := map[string]bool{} // providers that get allocations or inventory
	for i, c := range claims {
		consumers[i] = c.ConsumerUUID
		for _, a := range c.Allocations {
			fresh[a.ProviderUUID] = true
		}
	}
	for _, sh := range shapes {
		fresh[sh.ProviderUUID] = true
	}
	if err := s.lockConsumers(ctx, claims, standIn); err != nil {
		return err
	}
	providers, err := s.lockProviders(ctx, consumers, fresh)
	if err != nil {
		return err
	}
	for _, sh := range shapes {
		if err := s.growInventory(ctx, sh, providers); err != nil {
			return err
		}
	}
	if len(consumers) > 0 {
		if _, err := db.Delete(ctx, s.db, "allocations", db.Where().In("consumer_uuid", consumers)); err != nil {
			return err
		}
	}
	if err := s.insertAllocations(ctx, claims, providers); err != nil {
		return err
	}
	for _, sh := range shapes {
		if err := s.replaceInventories(ctx, sh.ProviderUUID, sh.Inventories); err != nil {
			return err
		}
	}
	var empty []string
	for _, c := range claims {
		if len(c.Allocations) == 0 {
			empty = append(empty, c.ConsumerUUID)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	_, err = db.Delete(ctx, s.db, "consumers", db.Where().In("uuid", empty))
	return err
}

// lockConsumers checks the consumers' generations, advances them, and adds
// those that are new.
func (s *Store) lockConsumers(ctx context.Context, claims []placement.Claim, standIn placement.Consumer) error {
	uuids := make([]string, len(claims))
	for i, c := range claims {
		uuids[i] = c.ConsumerUUID
	}
	known, err := s.consumers(ctx, uuids)
	if err != nil {
		return err
	}
	for i := range claims {
		c := &claims[i]
		old := known[c.ConsumerUUID]
		if err := checkConsumer(c, old); err != nil {
			return err
		}
		switch {
		case old != nil:
			err = s.advanceConsumer(ctx, c, old)
		case len(c.Allocations) > 0:
			err = s.addConsumer(ctx, c, standIn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkConsumer(c *placement.Claim, old *placement.Consumer) error {
	if !c.CheckGeneration {
		return nil
	}
	switch {
	case old == nil && c.Generation != nil:
		return placement.ConsumerConflict(c.ConsumerUUID, c.Generation, nil)
	case old != nil && (c.Generation == nil || *c.Generation != old.Generation):
		return placement.ConsumerConflict(c.ConsumerUUID, c.Generation, &old.Generation)
	}
	return nil
}

func (s *Store) advanceConsumer(ctx context.Context, c *placement.Claim, old *placement.Consumer) error {
	set := db.Set{"generation": old.Generation + 1, "updated_at": db.Now()}
	if c.ProjectID != "" {
		set["project_id"] = c.ProjectID
	}
	if c.UserID != "" {
		set["user_id"] = c.UserID
	}
	if c.Type != nil {
		set["consumer_type"] = *c.Type
	}
	n, err := db.Update(ctx, s.db, "consumers", set, db.Where().Eq("uuid", c.ConsumerUUID).Eq("generation", old.Generation))
	if err == nil && n == 0 {
		// Another was faster; the next try sees how, and says so if it
		// matters.
		return errAgain
	}
	return err
}

func (s *Store) addConsumer(ctx context.Context, c *placement.Claim, standIn placement.Consumer) error {
	now := db.Now()
	err := db.Insert(ctx, s.db, "consumers", placement.Consumer{
		UUID: c.ConsumerUUID, ProjectID: cmp.Or(c.ProjectID, standIn.ProjectID), UserID: cmp.Or(c.UserID, standIn.UserID),
		Type: c.Type, Generation: 1, CreatedAt: now, UpdatedAt: now,
	})
	if db.IsUnique(err) {
		return errAgain
	}
	return err
}

// lockProviders locks the providers that gain or lose something, and returns
// those that gain.
func (s *Store) lockProviders(ctx context.Context, consumers []string, fresh map[string]bool) (map[string]*placement.Provider, error) {
	var touched []string
	if len(consumers) > 0 {
		old, err := db.Select[string](ctx, s.db, "SELECT DISTINCT provider_uuid FROM allocations WHERE consumer_uuid IN ("+marks(len(consumers))+")", anys(consumers)...)
		if err != nil {
			return nil, err
		}
		touched = old
	}
	var gaining []string
	for u := range fresh {
		gaining = append(gaining, u)
	}
	if err := s.touch(ctx, append(touched, gaining...), func(u string) bool { return fresh[u] }); err != nil {
		return nil, err
	}
	providers := map[string]*placement.Provider{}
	if len(gaining) == 0 {
		return providers, nil
	}
	slices.Sort(gaining)
	rows, err := db.Select[placement.Provider](ctx, s.db, "SELECT * FROM providers WHERE uuid IN ("+marks(len(gaining))+")", anys(gaining)...)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		providers[rows[i].UUID] = &rows[i]
	}
	for _, u := range gaining {
		if providers[u] == nil {
			return nil, placement.UnknownProvider(u)
		}
	}
	return providers, nil
}

// growInventory adds and changes what the shape asks for; what goes away goes
// after the allocations have moved.
func (s *Store) growInventory(ctx context.Context, sh placement.Shape, providers map[string]*placement.Provider) error {
	// lockProviders has put it at the next generation already.
	if providers[sh.ProviderUUID].Generation != sh.Generation+1 {
		return placement.GenerationConflict(sh.ProviderUUID)
	}
	have, err := s.Inventories(ctx, sh.ProviderUUID)
	if err != nil {
		return err
	}
	list := slices.Clone(sh.Inventories)
	for _, h := range have {
		if !slices.ContainsFunc(list, func(i placement.Inventory) bool { return i.ResourceClass == h.ResourceClass }) {
			list = append(list, h)
		}
	}
	return s.replaceInventories(ctx, sh.ProviderUUID, list)
}

type classOf struct{ provider, class string }

// insertAllocations checks every amount against inventory and usage, and adds
// the allocations. The providers are locked and the consumers' former
// allocations gone.
func (s *Store) insertAllocations(ctx context.Context, claims []placement.Claim, providers map[string]*placement.Provider) error {
	uuids := make([]string, 0, len(providers))
	for u := range providers {
		uuids = append(uuids, u)
	}
	inventories, used, err := s.stock(ctx, uuids)
	if err != nil {
		return err
	}
	now := db.Now()
	var rows [][]any
	for _, c := range claims {
		for _, a := range c.Allocations {
			k := classOf{a.ProviderUUID, a.ResourceClass}
			inv := inventories[k]
			if inv == nil {
				return s.noInventory(ctx, a)
			}
			if !inv.Allows(a.Used) {
				return fault.Conflictf("Unable to allocate inventory: Unable to create allocation for '%s' on resource provider '%s'. The requested amount would violate inventory constraints.", a.ResourceClass, a.ProviderUUID)
			}
			used[k] += a.Used
			if used[k] > inv.Capacity() {
				return fault.Conflictf("Unable to allocate inventory: Unable to create allocation for '%s' on resource provider '%s'. The requested amount would exceed the capacity.", a.ResourceClass, a.ProviderUUID)
			}
			rows = append(rows, []any{c.ConsumerUUID, a.ProviderUUID, a.ResourceClass, a.Used, now})
		}
	}
	for chunk := range slices.Chunk(rows, 100) {
		q, args := values("INSERT INTO allocations (consumer_uuid, provider_uuid, resource_class, used, created_at) VALUES ", chunk)
		if _, err := db.Exec(ctx, s.db, q, args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) noInventory(ctx context.Context, a placement.Allocation) error {
	if _, err := s.ResourceClass(ctx, a.ResourceClass); err != nil {
		if fault.Is(err, fault.NotFound) {
			return fault.Invalidf("Unable to allocate inventory for resource provider %s: No such resource class %s.", a.ProviderUUID, a.ResourceClass)
		}
		return err
	}
	return fault.Conflictf("Unable to allocate inventory: Inventory for '%s' on resource provider '%s' invalid.", a.ResourceClass, a.ProviderUUID)
}

type usageRow struct {
	ProviderUUID  string `db:"provider_uuid"`
	ResourceClass string `db:"resource_class"`
	Used          int    `db:"used"`
}

// stock returns the inventory of providers and how much of it is used.
func (s *Store) stock(ctx context.Context, uuids []string) (map[classOf]*placement.Inventory, map[classOf]int, error) {
	inventories, used := map[classOf]*placement.Inventory{}, map[classOf]int{}
	if len(uuids) == 0 {
		return inventories, used, nil
	}
	in := "(" + marks(len(uuids)) + ")"
	inv, err := db.Select[placement.Inventory](ctx, s.db, "SELECT * FROM inventories WHERE provider_uuid IN "+in, anys(uuids)...)
	if err != nil {
		return nil, nil, err
	}
	for i := range inv {
		inventories[classOf{inv[i].ProviderUUID, inv[i].ResourceClass}] = &inv[i]
	}
	rows, err := db.Select[usageRow](ctx, s.db, "SELECT provider_uuid, resource_class, SUM(used) AS used FROM allocations WHERE provider_uuid IN "+in+" GROUP BY provider_uuid, resource_class", anys(uuids)...)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		used[classOf{r.ProviderUUID, r.ResourceClass}] = r.Used
	}
	return inventories, used, nil
}
