// Package cluster has the nouns of a cloud of several machines: nodes, their
// roles and addresses. Its services (join, certificates, tokens of nodes) are in
// the packages below it.
package cluster

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// Role is what a node does in the cloud.
type Role string

// The roles. A machine has any set of them; a cloud on one machine has all.
const (
	Control Role = "control" // APIs, managers, sagas, the central databases of the dataplane
	Compute Role = "compute" // guests
	Network Role = "network" // gateways between the cloud's networks and the outside
	Storage Role = "storage" // volumes
)

// Roles lists all roles.
func Roles() []Role { return []Role{Control, Compute, Network, Storage} }

// ParseRoles reads names of roles; none means all. An unknown one is
// fault.Invalid.
func ParseRoles(names []string) ([]Role, error) {
	if len(names) == 0 {
		return Roles(), nil
	}
	var out []Role
	for _, n := range names {
		r := Role(n)
		if !slices.Contains(Roles(), r) {
			return nil, fault.Invalidf("%q is not a role: use control, compute, network, storage", n)
		}
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out, nil
}

// Node is one machine of the cloud.
type Node struct {
	Name  string
	Roles []Role
	// Management carries APIs, the bus and SQL between nodes; Storage image
	// and volume data; Service the tunnels of guests' networks. The zero
	// Addr: the management address; a zero Management: this cloud has one
	// machine.
	Management netip.Addr
	Storage    netip.Addr
	Service    netip.Addr
	Joined     time.Time
	Seen       time.Time // the last heartbeat
	Version    string    // of the program it runs, as its last heartbeat said
	Revoked    bool      // removed from the cloud: it is refused everywhere
}

// Has reports whether the node has the role.
func (n Node) Has(r Role) bool { return slices.Contains(n.Roles, r) }

// ServiceAddress is the address of tunnels.
func (n Node) ServiceAddress() netip.Addr {
	if n.Service.IsValid() {
		return n.Service
	}
	return n.Management
}

// StorageAddress is the address for image and volume data.
func (n Node) StorageAddress() netip.Addr {
	if n.Storage.IsValid() {
		return n.Storage
	}
	return n.Management
}

// Addresses are a node's, each once and in one form: ::ffff:10.0.0.1 is
// 10.0.0.1 to whoever checks a certificate.
func (n Node) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, a := range []netip.Addr{n.Management, n.Storage, n.Service} {
		if a = a.Unmap(); a.IsValid() && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// Files are the paths of a node's certificate and of the authority that signs
// all nodes' certificates, PEM each.
type Files struct{ CA, Cert, Key string }
