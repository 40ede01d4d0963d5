package image

import "time"

// TaskStatus is the state of a task.
type TaskStatus string

// The task statuses.
const (
	TaskPending    TaskStatus = "pending"
	TaskProcessing TaskStatus = "processing"
	TaskSuccess    TaskStatus = "success"
	TaskFailure    TaskStatus = "failure"
)

// The import methods.
const (
	GlanceDirect = "glance-direct" // of what was staged
	WebDownload  = "web-download"  // from a URL
)

// Properties in which an import reports what it does.
const (
	PropertyImporting = "os_glance_importing_to_stores"
	PropertyFailed    = "os_glance_failed_import"
	PropertyLock      = "os_glance_import_task"
)

// Task records an import. It is kept for a while after its end.
type Task struct {
	ID        string     `db:"id"`
	ImageID   string     `db:"image_id"`
	Owner     string     `db:"owner_id"`
	UserID    string     `db:"user_id"`
	RequestID string     `db:"request_id"`
	Status    TaskStatus `db:"status"`
	Method    string     `db:"method"`
	Input     string     `db:"input"` // the request's body, JSON
	Message   string     `db:"message"`
	CreatedAt time.Time  `db:"created_at"`
	UpdatedAt time.Time  `db:"updated_at"`
	ExpiresAt *time.Time `db:"expires_at"`
}
