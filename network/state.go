package network

import "time"

// The kinds of objects that the dataplane has, in the order in which they are
// made; they are removed in the opposite order.
const (
	DirtyNetwork       = "network"
	DirtyAddressGroup  = "address-group"
	DirtySecurityGroup = "security-group"
	DirtySubnet        = "subnet"
	DirtyPort          = "port"
	DirtyRouter        = "router"
	DirtyFloatingIP    = "floating-ip"
	DirtyHost          = "host" // one that is gone: the object's id is its name
)

// DirtyRank orders the kinds.
func DirtyRank(kind string) int {
	switch kind {
	case DirtyNetwork:
		return 0
	case DirtyAddressGroup:
		return 1
	case DirtySecurityGroup:
		return 2
	case DirtySubnet:
		return 3
	case DirtyPort:
		return 4
	case DirtyRouter:
		return 5
	case DirtyHost:
		return 7
	}
	return 6
}

// Dirty says that the dataplane may differ from an object's row. It is written
// in the transaction that changes the row, and removed when the dataplane has
// been made equal.
type Dirty struct {
	Kind     string `db:"kind"`
	ObjectID string `db:"object_id"`
	// Version changes with each marking, so that a change during the work
	// is not forgotten.
	Version  string    `db:"version"`
	Attempts int       `db:"attempts"`
	DueAt    time.Time `db:"due_at"`
	Problem  string    `db:"problem"`
}

// State is a part of the rows, complete for the objects it was asked for:
// with all that their wanted state in the dataplane depends on.
type State struct {
	Networks       map[string]*Network
	Subnets        map[string]*Subnet
	Ports          map[string]*Port
	Routers        map[string]*Router
	FloatingIPs    map[string]*FloatingIP
	SecurityGroups map[string]*SecurityGroup
	AddressGroups  map[string]*AddressGroup
	// GatewayHosts are the hosts on which gateways of routers may be, sorted;
	// they come with routers.
	GatewayHosts []string
}

// NewState returns an empty state.
func NewState() *State {
	return &State{
		Networks: map[string]*Network{}, Subnets: map[string]*Subnet{}, Ports: map[string]*Port{}, Routers: map[string]*Router{},
		FloatingIPs: map[string]*FloatingIP{}, SecurityGroups: map[string]*SecurityGroup{}, AddressGroups: map[string]*AddressGroup{},
	}
}

// Dataplane is what the service must know of the driver's abilities.
type Dataplane struct {
	VIFType          string // binding:vif_type of bound ports
	Bridge           string
	DatapathType     string
	NetworkTypes     []string
	PhysicalNetworks []string
	TunnelMTU        int // bytes
	PhysicalMTU      int
}

// Scope says whose rows are meant: those that a project may see, or all.
type Scope struct {
	All       bool
	ProjectID string
}
