package driver

import "net/netip"

// The network types (provider:network_type) that drivers know.
const (
	TypeGeneve = "geneve"
	TypeFlat   = "flat"
	TypeVLAN   = "vlan"
)

// Network is a layer 2 segment.
type Network struct {
	ID   string
	Name string // for people who read the dataplane's tables
	// Type is TypeGeneve (any tunnel of the driver's choice), TypeFlat or
	// TypeVLAN; the last two need Physical, the last VLAN (1–4094).
	Type     string
	Physical string
	VLAN     int
	MTU      int // bytes
}

// Subnet is an address range of a network with its DHCP settings.
type Subnet struct {
	ID        string
	NetworkID string
	CIDR      netip.Prefix
	DHCP      bool       // answer DHCP requests
	Gateway   netip.Addr // default route; the zero Addr: none
	// Metadata is the address of the network's KindMetadata port on this
	// subnet: guests are routed over it to 169.254.169.254, and it is the
	// DHCP server's address. Zero: no metadata here (IPv6 needs none).
	Metadata   netip.Addr
	DNS        []netip.Addr
	Domain     string // DNS domain of guests, e.g. "openstacklocal"
	HostRoutes []Route
	MTU        int // bytes; 0: not told
	// LeaseTime in seconds; 0: 43200.
	LeaseTime int
	// Stateless says for IPv6 that addresses come from router
	// advertisements (dhcpv6-stateless): DHCP gives the other options.
	Stateless bool
}

// Route sends Destination over NextHop.
type Route struct {
	Destination netip.Prefix
	NextHop     netip.Addr
}

// PortKind tells what is on the other side of a port.
type PortKind string

// The kinds of ports.
const (
	KindVIF      PortKind = "vif"      // a guest's interface
	KindRouter   PortKind = "router"   // an interface or gateway of a Router
	KindMetadata PortKind = "metadata" // the metadata service: present on every host
	KindReserved PortKind = "reserved" // holds addresses, has no wire (a floating IP's port)
)

// Port is a connection to a network.
type Port struct {
	ID        string
	NetworkID string
	Kind      PortKind
	// DeviceID and DeviceOwner are told to people who read the dataplane's
	// tables. No filter depends on them.
	DeviceID    string
	DeviceOwner string
	// ProjectID is told to the metadata service of the port's host.
	ProjectID string
	MAC       string
	Addresses []PortAddress
	AdminUp   bool
	// Host is the host where the port may be plugged; empty: any.
	Host string
	// PortSecurity drops what doesn't come from MAC and Addresses or a pair
	// of AllowedPairs, and all that SecurityGroups don't allow. It counts
	// for KindVIF only.
	PortSecurity   bool
	AllowedPairs   []AddressPair
	SecurityGroups []string
	DHCPOptions    []DHCPOption
	// MTU of the network in bytes, for KindMetadata; 0: 1500.
	MTU int
}

// PortAddress is one fixed IP of a port.
type PortAddress struct {
	SubnetID string
	IP       netip.Addr
	// Bits is the length of the subnet's prefix, for KindMetadata; 0: unknown.
	Bits int
}

// AddressPair is a source that a guest may use besides its own. An empty MAC
// is the port's.
type AddressPair struct {
	MAC    string
	Prefix netip.Prefix
}

// SecurityGroup is a set of rules; what no rule allows is dropped.
type SecurityGroup struct {
	ID        string
	Name      string
	Stateless bool // replies need rules of their own
	Rules     []Rule
}

// Direction of traffic as the guest sees it.
type Direction string

// The directions.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
)

// Rule allows traffic. At most one of Remote, RemoteGroup and
// RemoteAddressGroup is set; none: any peer.
type Rule struct {
	ID        string
	Direction Direction
	IPv6      bool // ethertype
	// Protocol is empty for any, a name (tcp, udp, icmp, ipv6-icmp, sctp, …)
	// or a number 0–255.
	Protocol string
	// PortMin and PortMax bound the destination port, or are ICMP's type
	// and code. nil: any.
	PortMin, PortMax   *int
	Remote             netip.Prefix
	RemoteGroup        string
	RemoteAddressGroup string
}

// AddressGroup is a named set of prefixes that rules refer to.
type AddressGroup struct {
	ID       string
	Name     string
	Prefixes []netip.Prefix
}

// Router connects networks.
type Router struct {
	ID         string
	Name       string
	AdminUp    bool
	Interfaces []RouterInterface
	Gateway    *RouterGateway // nil: none
	Routes     []Route        // extra routes
}

// RouterInterface is a router's leg in a network. PortID names a Port of
// KindRouter with the same MAC.
type RouterInterface struct {
	PortID    string
	NetworkID string
	MAC       string
	Addresses []netip.Prefix // address with the subnet's length: 10.0.0.1/24
	MTU       int            // of the network, in bytes
	// IPv6RA is the subnet's ipv6_ra_mode: "slaac", "dhcpv6-stateful",
	// "dhcpv6-stateless"; empty: no advertisements.
	IPv6RA string
}

// RouterGateway is a router's leg in an external network.
type RouterGateway struct {
	PortID    string
	NetworkID string
	MAC       string
	Addresses []netip.Prefix
	NextHops  []netip.Addr // default routes; at most one per family is used
	SNAT      bool         // hide the interfaces' IPv4 subnets behind the first IPv4 address
	MTU       int          // of the external network, in bytes
	// Hosts that may hold the gateway, best first; empty: the driver's choice.
	Hosts []string
}

// FloatingIP maps an external address to a port's fixed one.
type FloatingIP struct {
	ID       string
	RouterID string
	External netip.Addr
	Fixed    netip.Addr
	PortID   string // the port that has Fixed
	// Distributed answers on the port's host rather than on the gateway's;
	// then MAC is the external address's own.
	Distributed bool
	MAC         string
}
