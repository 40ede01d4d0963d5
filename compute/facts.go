package compute

// The methods of an agent for those who look for damage.
const (
	MethodFacts = "host_facts"   // struct{} → HostFacts
	MethodSweep = "remove_stray" // Stray: nothing happens if it is none any more
)

// HostFacts is all that a host has of guests.
type HostFacts struct {
	Host   string      `json:"host"`
	Guests []GuestFact `json:"guests"`
	Strays []Stray     `json:"strays"`
}

// GuestFact is a guest that a host has.
type GuestFact struct {
	GuestInfo
	Ports []string `json:"ports"` // of the interfaces in its definition
}

// Stray is something on a host that no guest's definition there names.
type Stray struct {
	Kind     string `json:"kind"`                // StrayProcess, StrayTap
	Name     string `json:"name"`                // pid, or name of the link
	ServerID string `json:"server_id,omitempty"` // for which it was made, if that can be seen
}

// The kinds of strays.
const (
	StrayProcess = "process" // a hypervisor's, whose guest's folder is gone
	StrayTap     = "tap"     // a plugged interface
)
