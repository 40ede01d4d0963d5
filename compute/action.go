package compute

import "time"

// Action is something that was asked of a server (os-instance-actions).
type Action struct {
	ID        string    `db:"id"`
	ServerID  string    `db:"server_id"`
	Name      string    `db:"action"`
	RequestID string    `db:"request_id"`
	UserID    string    `db:"user_id"`
	ProjectID string    `db:"project_id"`
	StartAt   time.Time `db:"start_at"`
	UpdatedAt time.Time `db:"updated_at"`
	Message   string    `db:"message"` // "Error" once an event failed
}

// ActionEvent is a part of an action.
type ActionEvent struct {
	ID       string     `db:"id"`
	ActionID string     `db:"action_id"`
	Name     string     `db:"event"` // compute__do_build_and_run_instance
	Host     string     `db:"host"`
	StartAt  time.Time  `db:"start_at"`
	FinishAt *time.Time `db:"finish_at"`
	Result   string     `db:"result"` // Success, Error or empty
	Details  string     `db:"details"`
	Trace    string     `db:"traceback"`
}

// BirthStep is one of the steps by which a server was made.
type BirthStep struct {
	ActionID string    `db:"action_id"`
	ServerID string    `db:"server_id"`
	Seq      int       `db:"seq"` // 1 to 29; larger: steps of tropo's own
	Step     int       `db:"step"`
	Name     string    `db:"name"`
	Part     string    `db:"part"`
	Detail   string    `db:"detail"`
	StartAt  time.Time `db:"start_at"`
	Duration int64     `db:"duration_ns"`
	Note     string    `db:"note"`
	Error    string    `db:"error_text"`
}

// The types and statuses of migrations that more than one place knows.
const (
	MigrationResize     = "resize"
	MigrationEvacuation = "evacuation"
	MigrationMigrating  = "migrating"
	MigrationFinished   = "finished"
	MigrationAccepted   = "accepted"
	MigrationDone       = "done"      // the server lives on its new host
	MigrationCompleted  = "completed" // and the old one has removed it
	MigrationFailed     = "failed"
)

// Migration is a move or a resize of a server.
type Migration struct {
	ID          int64     `db:"id"`
	UUID        string    `db:"uuid"`
	ServerID    string    `db:"server_id"`
	ProjectID   string    `db:"project_id"`
	UserID      string    `db:"user_id"`
	Type        string    `db:"type"`   // resize, evacuation
	Status      string    `db:"status"` // migrating, finished, confirmed, reverted, error
	SourceHost  string    `db:"source_host"`
	SourceNode  string    `db:"source_node"`
	DestHost    string    `db:"dest_host"`
	DestNode    string    `db:"dest_node"`
	OldFlavorID string    `db:"old_flavor_id"`
	NewFlavorID string    `db:"new_flavor_id"`
	CreatedAt   time.Time `db:"created_at"`
	UpdatedAt   time.Time `db:"updated_at"`
}
