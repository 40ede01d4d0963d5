package compute

// The notifications that the service sends over the bus; the payload is an
// Event.
const (
	EventCreateStart = "compute.instance.create.start"
	EventCreateEnd   = "compute.instance.create.end"
	EventCreateError = "compute.instance.create.error"
	EventDeleteStart = "compute.instance.delete.start"
	EventDeleteEnd   = "compute.instance.delete.end"
	EventUpdate      = "compute.instance.update"
)

// Event is what a notification tells of a server.
type Event struct {
	ServerID  string    `json:"instance_id"`
	ProjectID string    `json:"tenant_id"`
	UserID    string    `json:"user_id"`
	Name      string    `json:"display_name"`
	VMState   VMState   `json:"state"`
	TaskState TaskState `json:"new_task_state"`
	Host      string    `json:"host"`
	FlavorID  string    `json:"instance_type_id"`
	ImageID   string    `json:"image_id"`
}

// EventOf describes s.
func EventOf(s *Server) Event {
	return Event{s.ID, s.ProjectID, s.UserID, s.Name, s.VMState, s.TaskState, s.Host, s.FlavorID, s.ImageID}
}
