package manager

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/image"
)

// Task returns a task.
func (m *Manager) Task(ctx context.Context, id string) (*image.Task, error) {
	return m.store.Task(ctx, id)
}

// Tasks returns a page of all tasks with a status ("": any).
func (m *Manager) Tasks(ctx context.Context, status string, p db.Page) ([]image.Task, error) {
	w := db.Where()
	if status != "" {
		w.Eq("status", status)
	}
	return m.store.Tasks(ctx, w, p)
}

// ImageTasks lists the tasks of an image, oldest first.
func (m *Manager) ImageTasks(ctx context.Context, i *image.Image) ([]image.Task, error) {
	return m.store.Tasks(ctx, db.Where().Eq("image_id", i.ID),
		db.Page{Limit: m.o.Config.LimitMax, Sort: []db.Sort{{Column: "created_at"}}})
}

// expireTasks forgets tasks whose time is over.
func (m *Manager) expireTasks(ctx context.Context) error {
	return m.store.DeleteTasks(ctx, db.Where().Raw("expires_at < ?", db.Now()))
}
