package network

import "strings"

// The device owners that the service itself uses.
const (
	OwnerRouterInterface = "network:router_interface"
	OwnerRouterGateway   = "network:router_gateway"
	OwnerFloatingIP      = "network:floatingip"
	OwnerDHCP            = "network:dhcp"
	OwnerDistributed     = "network:distributed" // the metadata port
)

// Port is a connection to a network.
type Port struct {
	Standard
	Name          string              `json:"name" db:"name"`
	NetworkID     string              `json:"network_id" db:"network_id"`
	MAC           string              `json:"mac_address" db:"mac_address"`
	AdminStateUp  bool                `json:"admin_state_up" db:"admin_state_up"`
	Status        string              `json:"status" db:"status"`
	DeviceID      string              `json:"device_id" db:"device_id"`
	DeviceOwner   string              `json:"device_owner" db:"device_owner"`
	PortSecurity  bool                `json:"port_security_enabled" db:"port_security_enabled"`
	AllowedPairs  List[AddressPair]   `json:"allowed_address_pairs" db:"allowed_address_pairs"`
	DHCPOptions   List[DHCPOption]    `json:"extra_dhcp_opts" db:"extra_dhcp_opts"`
	DNSName       string              `json:"dns_name" db:"dns_name"`
	DNSDomain     string              `json:"dns_domain" db:"dns_domain"`
	HostID        string              `json:"binding:host_id" db:"host_id"`
	VNICType      string              `json:"binding:vnic_type" db:"vnic_type"`
	Profile       Map                 `json:"binding:profile" db:"profile"`
	VIFType       string              `json:"binding:vif_type" db:"vif_type"`
	VIFDetails    Map                 `json:"binding:vif_details" db:"vif_details"`
	FixedIPs      List[FixedIP]       `json:"fixed_ips" db:"-"`
	Groups        List[string]        `json:"security_groups" db:"-"`
	DNSAssignment List[DNSAssignment] `json:"dns_assignment" db:"-"`
}

// FixedIP is an address of a port.
type FixedIP struct {
	SubnetID string `json:"subnet_id,omitempty"`
	Address  string `json:"ip_address,omitempty"`
}

// AddressPair is a source that a guest may use besides its own.
type AddressPair struct {
	MAC string `json:"mac_address"`
	IP  string `json:"ip_address"`
}

// DHCPOption is an extra DHCP option of a port.
type DHCPOption struct {
	Name      string `json:"opt_name"`
	Value     string `json:"opt_value"`
	IPVersion int    `json:"ip_version"`
}

// DNSAssignment is the name of one address of a port.
type DNSAssignment struct {
	Address  string `json:"ip_address"`
	Hostname string `json:"hostname"`
	FQDN     string `json:"fqdn"`
}

// OfService reports whether the device owner is one of the service's own,
// whose ports have no filters and can't be deleted by their users.
func OfService(owner string) bool { return strings.HasPrefix(owner, "network:") }

// OfRouter reports whether the port is a leg of a router.
func OfRouter(owner string) bool {
	return owner == OwnerRouterInterface || owner == OwnerRouterGateway
}

// Allocation is an address that a port holds. (subnet, address) is unique.
type Allocation struct {
	PortID    string `db:"port_id"`
	SubnetID  string `db:"subnet_id"`
	NetworkID string `db:"network_id"`
	Address   string `db:"address"`
	Position  int    `db:"position_no"`
}
