package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/identity"
)

// DomainOptions lists the options that a domain sets; an empty group is any.
func (s *Store) DomainOptions(ctx context.Context, domainID, group string) ([]identity.DomainOption, error) {
	w := db.Where().Eq("domain_id", domainID)
	if group != "" {
		w.Eq("group_name", group)
	}
	sql, args := w.SQL()
	return db.Select[identity.DomainOption](ctx, s.db, "SELECT "+db.Columns[identity.DomainOption]("")+" FROM domain_configs"+sql+" ORDER BY group_name, option_name LIMIT "+bound, args...)
}

// SetDomainOption stores one option.
func (s *Store) SetDomainOption(ctx context.Context, o identity.DomainOption) error {
	return db.Upsert(ctx, s.db, "domain_configs", o, "domain_id", "group_name", "option_name")
}

// ClearDomainOptions removes options and returns how many; an empty group or
// option is any.
func (s *Store) ClearDomainOptions(ctx context.Context, domainID, group, option string) (int64, error) {
	w := db.Where().Eq("domain_id", domainID)
	if group != "" {
		w.Eq("group_name", group)
	}
	if option != "" {
		w.Eq("option_name", option)
	}
	return db.Delete(ctx, s.db, "domain_configs", w)
}
