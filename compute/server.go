package compute

import (
	"strings"
	"time"
)

// VMState is what a server is (OS-EXT-STS:vm_state).
type VMState string

// The states of a server.
const (
	StateBuilding         VMState = "building"
	StateActive           VMState = "active"
	StatePaused           VMState = "paused"
	StateSuspended        VMState = "suspended"
	StateStopped          VMState = "stopped"
	StateResized          VMState = "resized"
	StateRescued          VMState = "rescued"
	StateSoftDeleted      VMState = "soft-delete"
	StateDeleted          VMState = "deleted"
	StateError            VMState = "error"
	StateShelved          VMState = "shelved"
	StateShelvedOffloaded VMState = "shelved_offloaded"
)

// TaskState is what is being done to a server (OS-EXT-STS:task_state); empty:
// nothing.
type TaskState string

// The tasks of a server.
const (
	TaskScheduling      TaskState = "scheduling"
	TaskNetworking      TaskState = "networking"
	TaskSpawning        TaskState = "spawning"
	TaskDeleting        TaskState = "deleting"
	TaskSoftDeleting    TaskState = "soft-deleting"
	TaskRestoring       TaskState = "restoring"
	TaskRebooting       TaskState = "rebooting"
	TaskRebootingHard   TaskState = "rebooting_hard"
	TaskPoweringOn      TaskState = "powering-on"
	TaskPoweringOff     TaskState = "powering-off"
	TaskPausing         TaskState = "pausing"
	TaskUnpausing       TaskState = "unpausing"
	TaskSuspending      TaskState = "suspending"
	TaskResuming        TaskState = "resuming"
	TaskRebuilding      TaskState = "rebuilding"
	TaskRescuing        TaskState = "rescuing"
	TaskUnrescuing      TaskState = "unrescuing"
	TaskSnapshot        TaskState = "image_snapshot"
	TaskBackup          TaskState = "image_backup"
	TaskUploading       TaskState = "image_uploading"
	TaskResizePrep      TaskState = "resize_prep"
	TaskResizeFinish    TaskState = "resize_finish"
	TaskResizeRevert    TaskState = "resize_reverting"
	TaskShelving        TaskState = "shelving"
	TaskShelveOffload   TaskState = "shelving_offloading"
	TaskUnshelving      TaskState = "unshelving"
	PowerNone                     = 0
	PowerRunning                  = 1
	PowerPaused                   = 3
	PowerShutdown                 = 4
	PowerCrashed                  = 6
	PowerSuspended                = 7
	InstanceNamePrefix            = "instance-"
	DefaultRootDevice             = "/dev/vda"
	DiskConfigAuto                = "AUTO"
	DiskConfigManual              = "MANUAL"
	LockedByOwner                 = "owner"
	LockedByAdmin                 = "admin"
	MaxUserData                   = 65535 // bytes of base64 text
	MaxTags                       = 50    // per server
	MaxFilePersonality            = 10240 // bytes of one injected file
	MaxMetadataValueLen           = 255
)

// Server is a guest as its owner wants it.
type Server struct {
	ID            string    `db:"id"`
	ProjectID     string    `db:"project_id"`
	UserID        string    `db:"user_id"`
	Name          string    `db:"name"`
	Description   *string   `db:"description"`
	Hostname      string    `db:"hostname"`
	ReservationID string    `db:"reservation_id"`
	LaunchIndex   int       `db:"launch_index"`
	VMState       VMState   `db:"vm_state"`
	TaskState     TaskState `db:"task_state"`
	PowerState    int       `db:"power_state"`
	Progress      int       `db:"progress"`

	Host     string `db:"host"` // empty: none chosen yet, or offloaded
	Node     string `db:"node"`
	Zone     string `db:"zone"`        // availability zone it runs in, or was asked for
	PinnedAZ string `db:"pinned_zone"` // the zone that the caller asked for

	ImageID     string `db:"image_id"` // empty: boots from a volume
	FlavorID    string `db:"flavor_id"`
	VCPUs       int    `db:"vcpus"`
	MemoryMB    int    `db:"memory_mb"`
	RootGB      int    `db:"root_gb"`
	EphemeralGB int    `db:"ephemeral_gb"`

	KeyName      string  `db:"key_name"`
	ConfigDrive  bool    `db:"config_drive"`
	UserData     string  `db:"user_data"` // base64, as given
	DiskConfig   string  `db:"disk_config"`
	AccessIPv4   string  `db:"access_ipv4"`
	AccessIPv6   string  `db:"access_ipv6"`
	RootDevice   string  `db:"root_device"`
	LockedBy     string  `db:"locked_by"` // owner, admin or empty
	LockedReason string  `db:"locked_reason"`
	GroupID      string  `db:"group_id"`
	OldState     VMState `db:"old_vm_state"` // before a resize, a shelve or a soft delete

	CreatedAt    time.Time  `db:"created_at"`
	UpdatedAt    time.Time  `db:"updated_at"`
	LaunchedAt   *time.Time `db:"launched_at"`
	TerminatedAt *time.Time `db:"terminated_at"`
	DeletedAt    *time.Time `db:"deleted_at"`

	Spec  ServerSpec // kept as one document
	Fault *Fault
}

// ServerSpec is what was asked for and does not change between rebuilds and
// resizes.
type ServerSpec struct {
	Flavor         Flavor              `json:"flavor"`
	OldFlavor      *Flavor             `json:"old_flavor,omitempty"` // between resize and its confirmation
	ImageProps     map[string]string   `json:"image_props,omitempty"`
	ImageMinDisk   int                 `json:"image_min_disk,omitempty"`
	ImageMinRAM    int                 `json:"image_min_ram,omitempty"`
	KernelID       string              `json:"kernel_id,omitempty"`
	RamdiskID      string              `json:"ramdisk_id,omitempty"`
	Hints          map[string][]string `json:"hints,omitempty"`
	ForceHost      string              `json:"force_host,omitempty"` // AZ:host:node of an admin
	ForceNode      string              `json:"force_node,omitempty"`
	WantHost       string              `json:"want_host,omitempty"` // host and hypervisor_hostname, checked by the scheduler
	WantNode       string              `json:"want_node,omitempty"`
	SecurityGroups []SecurityGroup     `json:"security_groups,omitempty"`
	PublicKey      string              `json:"public_key,omitempty"`
	KeyType        string              `json:"key_type,omitempty"`
	Files          []File              `json:"files,omitempty"`
	NoNetwork      bool                `json:"no_network,omitempty"`
	AutoNetwork    bool                `json:"auto_network,omitempty"`
	ShelvedImage   string              `json:"shelved_image,omitempty"`
	MigrationID    string              `json:"migration_id,omitempty"` // consumer of the old allocation while resized
	TrustedCerts   []string            `json:"trusted_certs,omitempty"`
}

// SecurityGroup names a group of the network service.
type SecurityGroup struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// File is a file that the guest gets on its config drive (personality).
type File struct {
	Path     string `json:"path"`
	Contents []byte `json:"contents"`
}

// Fault is why a server went into its error state.
type Fault struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`
	Details string    `json:"details,omitempty"` // for administrators
	Created time.Time `json:"created"`
}

// InstanceName is the hypervisor's name of the server.
func (s *Server) InstanceName() string {
	return InstanceNamePrefix + strings.ReplaceAll(s.ID, "-", "")[:min(8, len(s.ID))]
}

// Locked reports whether a lock keeps the owner from acting on the server.
func (s *Server) Locked() bool { return s.LockedBy != "" }

// Status is the API's one word for vm_state and task_state.
func (s *Server) Status() string { return Status(s.VMState, s.TaskState) }

// Status maps the two states to the API's status (Compute API guide, "Server
// Concepts").
func Status(vm VMState, task TaskState) string {
	switch task {
	case TaskRebooting:
		if vm == StateActive {
			return "REBOOT"
		}
	case TaskRebootingHard:
		if vm != StateError {
			return "HARD_REBOOT"
		}
	case TaskRebuilding:
		return "REBUILD"
	case TaskResizePrep, TaskResizeFinish:
		if vm == StateActive || vm == StateStopped {
			return "RESIZE"
		}
	case TaskResizeRevert:
		if vm == StateResized {
			return "REVERT_RESIZE"
		}
	}
	if s, ok := statusWords[vm]; ok {
		return s
	}
	return "UNKNOWN"
}

var statusWords = map[VMState]string{
	StateBuilding: "BUILD", StateActive: "ACTIVE", StatePaused: "PAUSED", StateSuspended: "SUSPENDED",
	StateStopped: "SHUTOFF", StateResized: "VERIFY_RESIZE", StateRescued: "RESCUE", StateSoftDeleted: "SOFT_DELETED", StateDeleted: "DELETED",
	StateError: "ERROR", StateShelved: "SHELVED", StateShelvedOffloaded: "SHELVED_OFFLOADED",
}

// StatesOf returns the pairs of vm_state and task_state (nil: any that no other
// status claims) behind an API status, for list filters. An unknown status has
// none.
func StatesOf(status string) (vms []VMState, tasks []TaskState, ok bool) {
	status = strings.ToUpper(status)
	switch status {
	case "REBOOT":
		return []VMState{StateActive}, []TaskState{TaskRebooting}, true
	case "HARD_REBOOT":
		return nil, []TaskState{TaskRebootingHard}, true
	case "REBUILD":
		return nil, []TaskState{TaskRebuilding}, true
	case "RESIZE":
		return []VMState{StateActive, StateStopped}, []TaskState{TaskResizePrep, TaskResizeFinish}, true
	case "REVERT_RESIZE":
		return []VMState{StateResized}, []TaskState{TaskResizeRevert}, true
	case "MIGRATING", "PASSWORD":
		return nil, []TaskState{"none of ours"}, true
	}
	for vm, word := range statusWords {
		if word == status {
			return []VMState{vm}, nil, true
		}
	}
	return nil, nil, false
}
