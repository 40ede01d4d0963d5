package manager

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
)

// ServerUsage is what one server used between two times.
type ServerUsage struct {
	Server  compute.Server
	Hours   float64
	Seconds int64 // since the launch
}

// maxUsage bounds how many servers one answer sums up.
const maxUsage = 10000

// Usage returns what the servers of a project (empty: of all) used between two
// times, by id after marker.
func (m *Manager) Usage(ctx context.Context, projectID string, from, to time.Time, marker string, limit int) ([]ServerUsage, error) {
	if limit == 0 || limit > maxUsage {
		limit = maxUsage
	}
	list, err := m.store.Servers(ctx, store.ServerFilter{
		ProjectID: projectID, All: true, LaunchedBefore: &to, DeletedAfter: &from,
		Page: db.Page{Limit: limit, Marker: marker, Sort: []db.Sort{{Column: "id"}}},
	})
	if err != nil {
		return nil, err
	}
	now := db.Now()
	out := []ServerUsage{}
	for _, s := range list {
		begin, end := *s.LaunchedAt, now
		if s.DeletedAt != nil {
			end = *s.DeletedAt
		}
		u := ServerUsage{Server: s, Seconds: int64(end.Sub(begin).Seconds())}
		if begin.Before(from) {
			begin = from
		}
		if end.After(to) {
			end = to
		}
		u.Hours = max(0, end.Sub(begin).Hours())
		out = append(out, u)
	}
	return out, nil
}

// Migrations lists moves and resizes.
func (m *Manager) Migrations(ctx context.Context, w *db.Cond, limit int) ([]compute.Migration, error) {
	return m.store.Migrations(ctx, w, limit)
}
