package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// CreateTask adds a task.
func (s *Store) CreateTask(ctx context.Context, t image.Task) error {
	return db.Insert(ctx, s.db, "tasks", t)
}

// UpdateTask sets a task's status and message; expires is nil while it runs.
func (s *Store) UpdateTask(ctx context.Context, id string, status image.TaskStatus, message string, expires *time.Time) error {
	_, err := db.Update(ctx, s.db, "tasks", db.Set{"status": status, "message": message, "updated_at": db.Now(), "expires_at": expires}, db.ByID(id))
	return err
}

// Task returns a task.
func (s *Store) Task(ctx context.Context, id string) (*image.Task, error) {
	t, err := db.Get[image.Task](ctx, s.db, "SELECT "+db.Columns[image.Task]("")+" FROM tasks WHERE id = ?", id)
	return found(t, err, fault.New(fault.NotFound, "Task %s not found", id))
}

// Tasks returns a page of tasks that match w.
func (s *Store) Tasks(ctx context.Context, w *db.Cond, p db.Page) ([]image.Task, error) {
	return db.SelectPage[image.Task](ctx, s.db, "tasks", w, p)
}

// DeleteTasks removes the tasks that match w.
func (s *Store) DeleteTasks(ctx context.Context, w *db.Cond) error {
	_, err := db.Delete(ctx, s.db, "tasks", w)
	return err
}
