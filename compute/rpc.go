package compute

import "time"

// The topics of the bus.
const (
	TopicAgent   = "compute"   // an agent, by host
	TopicManager = "conductor" // any manager
)

// The methods of an agent. All are idempotent.
const (
	MethodFetch       = "fetch_image"      // SpawnRequest
	MethodSpawn       = "spawn"            // SpawnRequest → GuestInfo
	MethodCancel      = "cancel"           // GuestRequest: end a spawn or a fetch that runs
	MethodDestroy     = "destroy"          // GuestRequest
	MethodPower       = "power"            // PowerRequest → GuestInfo
	MethodConsole     = "console_output"   // ConsoleRequest → ConsoleOutput
	MethodDiagnostics = "diagnostics"      // GuestRequest → Diagnostics
	MethodAttach      = "attach_interface" // InterfaceRequest
	MethodDetach      = "detach_interface" // InterfaceRequest
	MethodSnapshot    = "snapshot"         // SnapshotRequest
	MethodResize      = "resize"           // ResizeRequest
	MethodRescue      = "rescue"           // RescueRequest → GuestInfo
	MethodUnrescue    = "unrescue"         // GuestRequest → GuestInfo
)

// The methods of the manager, called by agents.
const (
	MethodBeat   = "beat"   // Beat → BeatAnswer
	MethodReport = "report" // Report → ReportAnswer
	MethodGuests = "guests" // GuestsReport → GuestsAnswer
	MethodOrder  = "order"  // Order: may the guest be made, or started?
)

// GuestRequest names a guest.
type GuestRequest struct {
	ServerID string `json:"server_id"`
}

// SpawnRequest is all that an agent needs to make a guest. Order is what the
// agent asks about right before it makes it.
type SpawnRequest struct {
	ServerID    string            `json:"server_id"`
	Order       string            `json:"order"`
	Name        string            `json:"name"`
	Hostname    string            `json:"hostname"`
	Flavor      Flavor            `json:"flavor"`
	ImageID     string            `json:"image_id"`
	KernelID    string            `json:"kernel_id,omitempty"`
	RamdiskID   string            `json:"ramdisk_id,omitempty"`
	KernelArgs  string            `json:"kernel_args,omitempty"`
	Interfaces  []Interface       `json:"interfaces,omitempty"`
	ConfigDrive map[string][]byte `json:"config_drive,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// Interface is a port as a driver plugs it.
type Interface struct {
	PortID   string `json:"port_id"`
	MAC      string `json:"mac"`
	Type     string `json:"type"`
	Bridge   string `json:"bridge"`
	Datapath string `json:"datapath,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
}

// GuestInfo is the state of a guest on its host.
type GuestInfo struct {
	ServerID   string `json:"server_id"`
	PowerState int    `json:"power_state"`
	Exists     bool   `json:"exists"`
}

// PowerRequest changes what a guest does.
type PowerRequest struct {
	ServerID string        `json:"server_id"`
	Op       PowerOp       `json:"op"`
	Grace    time.Duration `json:"grace,omitempty"` // for a guest to shut down by itself
}

// PowerOp is a change of what a guest does.
type PowerOp string

// The changes.
const (
	PowerOn         PowerOp = "on"
	PowerOff        PowerOp = "off"
	PowerRebootSoft PowerOp = "reboot-soft"
	PowerRebootHard PowerOp = "reboot-hard"
	PowerPause      PowerOp = "pause"
	PowerUnpause    PowerOp = "unpause"
	PowerSuspend    PowerOp = "suspend"
	PowerResume     PowerOp = "resume"
)

// ConsoleRequest asks for the last lines of the serial console; 0: all kept.
type ConsoleRequest struct {
	ServerID string `json:"server_id"`
	Lines    int    `json:"lines"`
}

// ConsoleOutput is the answer.
type ConsoleOutput struct {
	Data []byte `json:"data"`
}

// InterfaceRequest plugs or unplugs an interface.
type InterfaceRequest struct {
	ServerID  string    `json:"server_id"`
	Interface Interface `json:"interface"`
}

// SnapshotRequest copies the root disk into an image that exists and is empty.
type SnapshotRequest struct {
	ServerID string `json:"server_id"`
	ImageID  string `json:"image_id"`
}

// RescueRequest restarts a guest from another image's disk, with its own beside
// it.
type RescueRequest struct {
	ServerID   string `json:"server_id"`
	ImageID    string `json:"image_id"`
	KernelID   string `json:"kernel_id,omitempty"`
	RamdiskID  string `json:"ramdisk_id,omitempty"`
	KernelArgs string `json:"kernel_args,omitempty"`
}

// ResizeRequest gives a stopped guest another size.
type ResizeRequest struct {
	ServerID string `json:"server_id"`
	Flavor   Flavor `json:"flavor"`
}

// Order is an agent's question whether it may make a guest as it was told, or
// start one that it has (ID is empty): a refusal is a fault of kind Conflict.
// An order that was late is void by then, so that no guest runs twice.
type Order struct {
	ServerID string `json:"server_id"`
	Host     string `json:"host"`
	ID       string `json:"id,omitempty"`
}

// Beat is an agent's sign of life when nothing changed on its host.
type Beat struct {
	Host string `json:"host"`
}

// BeatAnswer is what the manager wants to hear again, as after a silence.
type BeatAnswer struct {
	Report bool `json:"report,omitempty"` // a Report
	Guests bool `json:"guests,omitempty"` // all guests
}

// Report is an agent's sign of life with what its host has.
type Report struct {
	Host      string    `json:"host"`
	Node      string    `json:"node"`
	BootID    string    `json:"boot_id"`
	Inventory Inventory `json:"inventory"`
}

// ReportAnswer tells the agent what the manager thinks of it.
type ReportAnswer struct {
	Synced bool `json:"synced"`           // placement knows the inventory
	Guests bool `json:"guests,omitempty"` // all guests shall be reported
}

// GuestsReport is what an agent found on its host.
type GuestsReport struct {
	Host   string      `json:"host"`
	BootID string      `json:"boot_id"`
	Start  bool        `json:"start"` // the first of this agent
	Guests []GuestInfo `json:"guests"`
	// Partial says that Guests are only those with news; one that is gone does
	// not exist.
	Partial bool `json:"partial"`
}

// GuestsAnswer is what the agent shall do about it.
type GuestsAnswer struct {
	Destroy []string `json:"destroy,omitempty"` // deleted, or moved to another host, while the agent was away
	Start   []string `json:"start,omitempty"`   // ran before the host went down
	// Again are guests that could not be compared yet.
	Again []string `json:"again,omitempty"`
}

// Diagnostics are a running guest's counters.
type Diagnostics struct {
	State        string     `json:"state"`
	Driver       string     `json:"driver"`
	Hypervisor   string     `json:"hypervisor"`
	HypervisorOS string     `json:"hypervisor_os"`
	Uptime       int64      `json:"uptime"` // seconds
	ConfigDrive  bool       `json:"config_drive"`
	MemoryMax    int        `json:"memory_max"`  // MiB
	MemoryUsed   int        `json:"memory_used"` // MiB
	CPUs         []CPUTime  `json:"cpus"`
	NICs         []NICStat  `json:"nics"`
	Disks        []DiskStat `json:"disks"`
}

// CPUTime is the time that one virtual processor used.
type CPUTime struct {
	ID   int   `json:"id"`
	Time int64 `json:"time"` // nanoseconds
}

// NICStat counts what went through an interface.
type NICStat struct {
	MAC       string `json:"mac"`
	RxOctets  int64  `json:"rx_octets"`
	RxPackets int64  `json:"rx_packets"`
	RxDrop    int64  `json:"rx_drop"`
	RxErrors  int64  `json:"rx_errors"`
	TxOctets  int64  `json:"tx_octets"`
	TxPackets int64  `json:"tx_packets"`
	TxDrop    int64  `json:"tx_drop"`
	TxErrors  int64  `json:"tx_errors"`
}

// DiskStat counts what went to and from a disk.
type DiskStat struct {
	Device        string `json:"device"`
	ReadBytes     int64  `json:"read_bytes"`
	ReadRequests  int64  `json:"read_requests"`
	WriteBytes    int64  `json:"write_bytes"`
	WriteRequests int64  `json:"write_requests"`
	Errors        int64  `json:"errors"`
}
