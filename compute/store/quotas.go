package store

import (
	"context"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
)

type quotaLock struct {
	ProjectID string `db:"project_id"`
	LockedAt  any    `db:"locked_at"`
}

// lockQuota makes transactions that count the same project's rows run one
// after the other.
func (s *Store) lockQuota(ctx context.Context, projectID string) error {
	return db.Upsert(ctx, s.db, "quota_locks", quotaLock{projectID, db.Now()}, "project_id")
}

// LockQuota is for the transaction that counts and then inserts servers.
func (s *Store) LockQuota(ctx context.Context, projectID string) error {
	return s.lockQuota(ctx, projectID)
}

type limitRow struct {
	Resource string `db:"resource"`
	Limit    int    `db:"hard_limit"`
}

// Limits returns the limits that were set for a project or, with a user, for
// that user in the project.
func (s *Store) Limits(ctx context.Context, projectID, userID string) (compute.Limits, error) {
	rows, err := db.Select[limitRow](ctx, s.db, "SELECT resource, hard_limit FROM quotas WHERE project_id = ? AND user_id = ?", projectID, userID)
	return limits(rows), err
}

// ClassLimits returns the limits that were set for a quota class.
func (s *Store) ClassLimits(ctx context.Context, class string) (compute.Limits, error) {
	rows, err := db.Select[limitRow](ctx, s.db, "SELECT resource, hard_limit FROM quota_classes WHERE class = ?", class)
	return limits(rows), err
}

func limits(rows []limitRow) compute.Limits {
	out := compute.Limits{}
	for _, r := range rows {
		out[r.Resource] = r.Limit
	}
	return out
}

// SetLimits sets limits of a project or a user in it.
func (s *Store) SetLimits(ctx context.Context, projectID, userID string, l compute.Limits) error {
	type row struct {
		ProjectID string `db:"project_id"`
		UserID    string `db:"user_id"`
		Resource  string `db:"resource"`
		Limit     int    `db:"hard_limit"`
	}
	return s.db.Tx(ctx, func(ctx context.Context) error {
		for r, n := range l {
			if err := db.Upsert(ctx, s.db, "quotas", row{projectID, userID, r, n}, "project_id", "user_id", "resource"); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetClassLimits sets limits of a quota class.
func (s *Store) SetClassLimits(ctx context.Context, class string, l compute.Limits) error {
	type row struct {
		Class    string `db:"class"`
		Resource string `db:"resource"`
		Limit    int    `db:"hard_limit"`
	}
	return s.db.Tx(ctx, func(ctx context.Context) error {
		for r, n := range l {
			if err := db.Upsert(ctx, s.db, "quota_classes", row{class, r, n}, "class", "resource"); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteLimits makes the defaults hold again.
func (s *Store) DeleteLimits(ctx context.Context, projectID, userID string) error {
	w := db.Where().Eq("project_id", projectID)
	if userID != "" {
		w.Eq("user_id", userID)
	}
	_, err := db.Delete(ctx, s.db, "quotas", w)
	return err
}

// Usage counts the servers of a project (or of one user in it).
func (s *Store) Usage(ctx context.Context, projectID, userID string) (compute.Usage, error) {
	type row struct {
		Servers int `db:"servers"`
		VCPUs   int `db:"vcpus"`
		Memory  int `db:"memory_mb"`
	}
	w := db.Where().Eq("project_id", projectID).Ne("vm_state", compute.StateSoftDeleted)
	if userID != "" {
		w.Eq("user_id", userID)
	}
	where, args := w.SQL()
	r, err := db.Get[row](ctx, s.db, "SELECT count(*) AS servers, COALESCE(sum(vcpus), 0) AS vcpus, COALESCE(sum(memory_mb), 0) AS memory_mb FROM servers"+where, args...)
	if err != nil {
		return nil, err
	}
	return compute.Usage{compute.QuotaInstances: r.Servers, compute.QuotaCores: r.VCPUs, compute.QuotaRAM: r.Memory}, nil
}
