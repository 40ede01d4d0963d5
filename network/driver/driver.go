// Package driver is the dataplane interface of the network service.
//
// The manager keeps Neutron's resources as rows and hands the driver the
// wanted state of one object after the other, or all of it at once (Sync).
// Every call is idempotent: Ensure makes the dataplane equal to the object
// given, whatever was there before, and Delete of what is not there succeeds.
// Each call takes effect as a whole or not at all. A driver keeps no state of
// its own beyond the dataplane's, and marks there what it owns, so Sync finds
// and removes leftovers.
//
// Objects name each other by id. Order does not matter for correctness: a port
// that names a security group which is not there yet is closed until the group
// arrives, never open. Only the container must exist: a port's or subnet's
// network, a floating IP's router; else the call fails with fault.NotFound.
//
// Bad parts never stop good ones: a rule, route or option that can't be
// expressed is left out (which for a rule means: allows nothing), everything
// else is applied, and then the call returns a fault.Invalid that names it.
package driver

import (
	"context"
)

// Driver is a dataplane. Errors are faults: Invalid for an object that can't
// be expressed, NotFound for a missing container, Unavailable when the
// dataplane does not answer (try again).
type Driver interface {
	// Capabilities tells what the dataplane is. It does not block.
	Capabilities() Capabilities

	EnsureNetwork(ctx context.Context, n Network) error
	DeleteNetwork(ctx context.Context, id string) error
	// EnsureSubnet sets the DHCP answers of a subnet, also in ports that
	// carry extra options.
	EnsureSubnet(ctx context.Context, s Subnet) error
	DeleteSubnet(ctx context.Context, id string) error
	// EnsurePort creates or changes a port together with its filters: at no
	// moment is it open without them.
	EnsurePort(ctx context.Context, p Port) error
	DeletePort(ctx context.Context, id string) error
	EnsureSecurityGroup(ctx context.Context, g SecurityGroup) error
	DeleteSecurityGroup(ctx context.Context, id string) error
	EnsureAddressGroup(ctx context.Context, g AddressGroup) error
	DeleteAddressGroup(ctx context.Context, id string) error
	// EnsureRouter sets a router with its interfaces, gateway, SNAT and
	// routes. The ports of kind KindRouter are ensured by EnsurePort.
	EnsureRouter(ctx context.Context, r Router) error
	DeleteRouter(ctx context.Context, id string) error
	EnsureFloatingIP(ctx context.Context, f FloatingIP) error
	DeleteFloatingIP(ctx context.Context, id string) error

	// RemoveHost forgets a host that is gone for good: its tunnels, and that
	// ports were there.
	RemoveHost(ctx context.Context, host string) error

	// Sync makes the dataplane equal to s: it heals objects that differ and
	// deletes owned ones that s does not name. One object's failure doesn't
	// stop the others; the error joins them all. Objects that s names and
	// that can't be applied keep what they had.
	Sync(ctx context.Context, s State) (Drift, error)
	// Owned lists every object that the driver has in the dataplane, sorted:
	// what is there and in no row is a leak.
	Owned(ctx context.Context) ([]Object, error)

	// Watch calls f with the state of every port that is known now, then
	// with each change, one call at a time, until ctx ends (its error is
	// returned). What changed while the dataplane was out of reach is told
	// when it is back. A port seen up before and now gone is told as down.
	Watch(ctx context.Context, f func(PortEvent)) error

	// Close ends the connection to the dataplane and leaves that as it is.
	Close() error
}

// Capabilities describe a dataplane.
type Capabilities struct {
	// DatapathType is "system" (kernel) or "netdev" (userspace). With
	// "netdev" guests and namespaces must not use checksum offload.
	DatapathType string
	// VIFType is binding:vif_type of bound ports: "ovs".
	VIFType string
	// Bridge is the integration bridge that taps are plugged into.
	Bridge string
	// Netns is the network namespace of the bridge ("": the host's) and
	// OVSDB the path of the unix socket of its database.
	Netns string
	OVSDB string
	// NetworkTypes are the provider:network_type values that work here.
	NetworkTypes []string
	// TunnelMTU is the largest MTU of a tunnelled network in bytes, and
	// PhysicalMTU that of flat and vlan networks.
	TunnelMTU   int
	PhysicalMTU int
	// PhysicalNetworks are the values of provider:physical_network.
	PhysicalNetworks []string
}

// PortEvent says that a port's wiring came up or went down.
type PortEvent struct {
	PortID string
	Up     bool
}

// ObjectKind is a kind of object that a driver owns.
type ObjectKind string

// The kinds of objects.
const (
	ObjectNetwork       ObjectKind = "network"
	ObjectSubnet        ObjectKind = "subnet"
	ObjectPort          ObjectKind = "port"
	ObjectSecurityGroup ObjectKind = "security-group"
	ObjectAddressGroup  ObjectKind = "address-group"
	ObjectRouter        ObjectKind = "router"
	ObjectFloatingIP    ObjectKind = "floating-ip"
)

// Object names one object in the dataplane.
type Object struct {
	Kind ObjectKind
	ID   string
}

// String returns "kind/id".
func (o Object) String() string { return string(o.Kind) + "/" + o.ID }

// State is the complete wanted state.
type State struct {
	// Known, if not nil, are the only objects that Sync may delete. A caller
	// that others write beside takes Owned first, reads its rows then, and
	// gives what Owned said here: what is made in between survives.
	Known []Object

	Networks       []Network
	Subnets        []Subnet
	Ports          []Port
	SecurityGroups []SecurityGroup
	AddressGroups  []AddressGroup
	Routers        []Router
	FloatingIPs    []FloatingIP
}

// Drift is what Sync found different.
type Drift struct {
	Healed  []Object // objects that were missing or different
	Deleted []Object // objects that nobody wanted
}
