package compute

// The states of a server's port row.
const (
	PortWanted    = "wanted"    // to be created or bound
	PortAttached  = "attached"  // bound to the server's host
	PortDetaching = "detaching" // on its way out
)

// Port is a network interface of a server: what was asked for, and what the
// network service made of it.
type Port struct {
	ID        string `db:"id"`        // of this row, chosen before the port exists
	ServerID  string `db:"server_id"` //
	Position  int    `db:"position"`  // order of the guest's devices
	PortID    string `db:"port_id"`   // empty: not created yet
	NetworkID string `db:"network_id"`
	FixedIP   string `db:"fixed_ip"` // wanted address
	Tag       string `db:"tag"`
	Owned     bool   `db:"owned"` // made for this server, deleted with it
	State     string `db:"state"`
	Info      VIF    // kept as one document
}

// VIF is what the network service told of a port.
type VIF struct {
	MAC       string    `json:"mac,omitempty"`
	Network   string    `json:"network,omitempty"` // name
	MTU       int       `json:"mtu,omitempty"`
	Type      string    `json:"type,omitempty"` // binding:vif_type
	VNICType  string    `json:"vnic_type,omitempty"`
	Bridge    string    `json:"bridge,omitempty"`
	Datapath  string    `json:"datapath,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	Subnets   []Subnet  `json:"subnets,omitempty"`
	Groups    []string  `json:"groups,omitempty"` // ids of security groups
	Status    string    `json:"status,omitempty"` // of the port
}

// Address is an address of a port.
type Address struct {
	IP       string   `json:"ip"`
	SubnetID string   `json:"subnet_id,omitempty"`
	Floating []string `json:"floating,omitempty"`
}

// Subnet is what network_data.json tells of a subnet.
type Subnet struct {
	ID      string   `json:"id"`
	CIDR    string   `json:"cidr"`
	Gateway string   `json:"gateway,omitempty"`
	Version int      `json:"version"`
	DHCP    bool     `json:"dhcp"`
	V6Mode  string   `json:"v6_mode,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	Routes  []Route  `json:"routes,omitempty"`
}

// Route is a host route of a subnet.
type Route struct {
	Destination string `json:"destination"`
	NextHop     string `json:"nexthop"`
}
