package store

import (
	"context"
	"reflect"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/network"
)

// Feed is what projects are told of changes.
func (s *Store) Feed() *feed.Feed { return s.feed }

// tell records a change of a resource, with its status where it has one.
func (s *Store) tell(ctx context.Context, v network.Resource, action string) error {
	status := ""
	if f := reflect.ValueOf(v).Elem().FieldByName("Status"); action != feed.Delete && f.IsValid() && f.Kind() == reflect.String {
		status = f.String()
	}
	return s.feed.Record(ctx, v.Std().ProjectID, v.Kind().Name, v.Std().ID, action, status)
}

// tellPort records a port's change of status.
func (s *Store) tellPort(ctx context.Context, id, status string) error {
	row, err := db.Get[struct {
		ProjectID string `db:"project_id"`
	}](ctx, s.db, "SELECT project_id FROM ports WHERE id = ?", id)
	if err != nil {
		return err
	}
	return s.feed.Record(ctx, row.ProjectID, "port", id, feed.Update, status)
}
