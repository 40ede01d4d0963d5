// Package driver is the contract between the compute agent and a hypervisor.
//
// A driver turns a Spec into a running guest on this host and back into
// nothing. It keeps all it must remember in files of the host, never in the
// agent's memory: after the agent was killed at any point, a new driver over
// the same state finds every guest again, and guests run on meanwhile.
//
// Rules that hold for every method of every driver:
//
//   - Idempotent: repeating a call that succeeded, or was cut short, succeeds
//     and changes nothing more. Spawn of a running guest, Destroy of an unknown
//     one, PowerOff of a stopped one and so on are successes.
//   - Calls for one guest run one after the other; calls for different guests
//     run side by side. Destroy does not wait for a long call on its guest: it
//     cancels it.
//   - Errors are faults (package fault). Their Message may be shown to the
//     owner of the server and names no path, host or tool; the cause may.
//     An unknown server id is fault.NotFound, a guest in the wrong state
//     fault.Conflict, something the driver cannot do fault.NotImplemented.
//
// Package drivertest holds the suite that each driver passes.
package driver

import (
	"context"
	"time"
)

// Driver drives the guests of one host. It is safe for concurrent use.
type Driver interface {
	// Host reports what this host has to offer.
	Host(ctx context.Context) (Host, error)

	// Spawn makes the guest's disks, plugs its interfaces and starts it. It
	// returns when the guest executes, which is before its operating system
	// is up. A failed Spawn may leave parts behind: the caller repeats it or
	// calls Destroy.
	Spawn(ctx context.Context, s Spec) error
	// Destroy ends the guest at once, unplugs its interfaces and, unless
	// keepDisks is set, removes every file of it. When it returns nil no
	// process, device or (without keepDisks) byte of the guest is left.
	// With keepDisks the guest stays known, as StateShutdown.
	Destroy(ctx context.Context, id string, keepDisks bool) error

	// PowerOn starts a stopped guest from its stored definition.
	PowerOn(ctx context.Context, id string) error
	// PowerOff asks the guest to shut down, and ends it by force when it has
	// not done so within grace. With grace 0 it is ended at once. The saved
	// memory of a suspended guest is thrown away.
	PowerOff(ctx context.Context, id string, grace time.Duration) error
	// Reboot restarts the guest: soft asks it to shut down as PowerOff does,
	// hard ends it at once. Either way devices, interfaces and process are
	// made anew from the stored definition, which heals a broken guest. A
	// stopped guest is started.
	Reboot(ctx context.Context, id string, kind RebootKind, grace time.Duration) error

	// Pause stops the guest's processors; its memory stays.
	Pause(ctx context.Context, id string) error
	// Unpause lets a paused guest go on.
	Unpause(ctx context.Context, id string) error
	// Suspend writes the guest's memory to disk and frees what it used.
	Suspend(ctx context.Context, id string) error
	// Resume brings a suspended guest back to where it was.
	Resume(ctx context.Context, id string) error

	// Info tells the state of one guest as it is on the host now.
	Info(ctx context.Context, id string) (Info, error)
	// List tells the state of all guests found on the host, by server id,
	// also of those that only half exist.
	List(ctx context.Context) ([]Info, error)
	// ConsoleOutput returns the last lines that the guest wrote to its serial
	// console, at most MaxConsoleBytes; lines <= 0 means as many as fit.
	ConsoleOutput(ctx context.Context, id string, lines int) ([]byte, error)
	// Console returns where the consoles of a running guest listen.
	Console(ctx context.Context, id string) (Console, error)
	// Diagnostics returns counters of a running guest.
	Diagnostics(ctx context.Context, id string) (Diagnostics, error)

	// AttachInterface adds a network interface, to the running guest too.
	// An interface of the same port is left as it is.
	AttachInterface(ctx context.Context, id string, v VIF) error
	// DetachInterface removes the interface of this port, waiting until the
	// guest has let go of it.
	DetachInterface(ctx context.Context, id, portID string) error

	// Snapshot writes a crash-consistent, self-contained copy of the root
	// disk to dst, which must not exist, and returns its format. The guest
	// runs on meanwhile. dst appears only when it is complete.
	Snapshot(ctx context.Context, id, dst string) (format string, err error)
	// Resize gives a stopped guest other processors, memory and a larger
	// root disk. Shrinking the disk is refused as fault.Invalid.
	Resize(ctx context.Context, id string, f Flavor) error

	// Rescue restarts the guest from another image's disk, which comes first;
	// its own root disk is the second one. It is so until Unrescue, whatever
	// power operations come between.
	Rescue(ctx context.Context, id string, r Rescue) error
	// Unrescue removes the rescue disk and restarts the guest from its own.
	Unrescue(ctx context.Context, id string) error

	// Events tells what guests do by themselves. It is a nudge: events are
	// dropped when nobody reads, and those from before the driver started
	// are missing, so the agent compares with List now and then. The channel
	// is closed by Close.
	Events() <-chan Event
	// Close frees what the driver holds. Guests run on.
	Close() error
}

// MaxConsoleBytes bounds what ConsoleOutput returns.
const MaxConsoleBytes = 100 << 10

// RebootKind is the type of a reboot, with the API's spelling.
type RebootKind string

// The kinds of reboot (Compute API, "Reboot Server").
const (
	RebootSoft RebootKind = "SOFT"
	RebootHard RebootKind = "HARD"
)

// Host is the inventory and the abilities of a hypervisor.
type Host struct {
	Hostname          string   // hypervisor_hostname
	HypervisorType    string   // "QEMU", "fake", …
	HypervisorVersion int      // 7.2.1 is 7002001
	Accelerator       string   // "kvm", "tcg", …
	VCPUs             int      // physical processors
	MemoryMiB         int      // physical memory
	DiskGiB           int      // size of the file system that holds the disks
	FreeDiskGiB       int      // what of it is free now
	CPU               CPU      // cpu_info
	Traits            []string // standard traits (os-traits) of this host
	ImageFormats      []string // disk formats that Spawn takes, Glance's names
	// NeedsImage is false when the driver works without the image's data
	// (simulated guests): the agent then fetches none.
	NeedsImage bool
}

// CPU describes the host's processors (cpu_info of os-hypervisors).
type CPU struct {
	Arch     string
	Model    string
	Vendor   string
	Features []string
	Sockets  int
	Cores    int // per socket
	Threads  int // per core
}

// State is what a guest does now.
type State string

// The states of guests.
const (
	StateNone      State = "none" // only parts exist: a Spawn was cut short
	StateRunning   State = "running"
	StatePaused    State = "paused"
	StateShutdown  State = "shutdown"
	StateCrashed   State = "crashed" // the guest's kernel panicked or it hit an internal error
	StateSuspended State = "suspended"
)

// PowerState returns the number that the compute API shows as
// OS-EXT-STS:power_state.
func (s State) PowerState() int {
	switch s {
	case StateRunning:
		return 1
	case StatePaused:
		return 3
	case StateShutdown:
		return 4
	case StateCrashed:
		return 6
	case StateSuspended:
		return 7
	}
	return 0
}

// Info is the state of one guest.
type Info struct {
	ID        string // server id
	Name      string
	State     State
	VCPUs     int
	MemoryMiB int
	CPUTime   time.Duration // processor time used since the last start
	ImageID   string        // whose cached data the root disk is based on
	RescueID  string        // of the image that it is rescued with; empty: it is not
	VIFs      []VIF
}

// Console tells where a guest's consoles listen. The paths may be longer than
// a socket address may be: connect with DialUnix.
type Console struct {
	VNC    string // unix socket that speaks RFB, without authentication
	Serial string // unix socket; one client at a time, which must keep reading
}

// EventKind says what happened to a guest.
type EventKind string

// The kinds of events.
const (
	EventStarted  EventKind = "started"
	EventStopped  EventKind = "stopped" // ended by itself or by a request
	EventCrashed  EventKind = "crashed" // panicked, or its process died
	EventPaused   EventKind = "paused"
	EventResumed  EventKind = "resumed"
	EventRebooted EventKind = "rebooted" // reset from inside
)

// Event is a change of a guest's state.
type Event struct {
	ServerID string
	Kind     EventKind
	Time     time.Time
}

// Diagnostics are counters of a running guest (Compute API, "Show Server
// Diagnostics", from microversion 2.48).
type Diagnostics struct {
	State         State
	Driver        string // "qemu", "fake", …
	Hypervisor    string // "kvm", "qemu"
	HypervisorOS  string
	Uptime        time.Duration // since the last start
	ConfigDrive   bool
	MemoryMaxMiB  int
	MemoryUsedMiB int
	CPUs          []CPUDiagnostics
	NICs          []NICDiagnostics
	Disks         []DiskDiagnostics
}

// CPUDiagnostics are the counters of one virtual processor.
type CPUDiagnostics struct {
	ID   int
	Time time.Duration
}

// NICDiagnostics are the counters of one interface, seen from the guest.
type NICDiagnostics struct {
	MAC                                      string
	RxOctets, RxPackets, RxDropped, RxErrors int64
	TxOctets, TxPackets, TxDropped, TxErrors int64
}

// DiskDiagnostics are the counters of one disk.
type DiskDiagnostics struct {
	Device                    string
	ReadBytes, ReadRequests   int64
	WriteBytes, WriteRequests int64
	Errors                    int64
}
