package network

// Router connects networks.
type Router struct {
	Standard
	Name         string       `json:"name" db:"name"`
	AdminStateUp bool         `json:"admin_state_up" db:"admin_state_up"`
	Status       string       `json:"status" db:"status"`
	Distributed  bool         `json:"distributed" db:"distributed"`
	HA           bool         `json:"ha" db:"ha"`
	AZHints      List[string] `json:"availability_zone_hints" db:"az_hints"`
	AZs          List[string] `json:"availability_zones" db:"-"`
	Routes       List[Route]  `json:"routes" db:"routes"`
	FlavorID     *string      `json:"flavor_id" db:"flavor_id"`
	GatewayPort  *string      `json:"-" db:"gateway_port_id"`
	EnableSNAT   bool         `json:"-" db:"enable_snat"`
	Gateway      *GatewayInfo `json:"external_gateway_info" db:"-"`
}

// GatewayInfo is a router's connection to an external network.
type GatewayInfo struct {
	NetworkID  string        `json:"network_id"`
	FixedIPs   List[FixedIP] `json:"external_fixed_ips"`
	EnableSNAT *bool         `json:"enable_snat,omitempty"`
}

// FloatingIP maps an address of an external network to a port's.
type FloatingIP struct {
	Standard
	NetworkID string      `json:"floating_network_id" db:"floating_network_id"`
	Address   string      `json:"floating_ip_address" db:"floating_ip_address"`
	SubnetID  string      `json:"subnet_id" db:"floating_subnet_id"`
	OwnPort   string      `json:"-" db:"floating_port_id"`
	PortID    *string     `json:"port_id" db:"port_id"`
	FixedIP   *string     `json:"fixed_ip_address" db:"fixed_ip_address"`
	RouterID  *string     `json:"router_id" db:"router_id"`
	Status    string      `json:"status" db:"status"`
	DNSName   string      `json:"dns_name" db:"dns_name"`
	DNSDomain string      `json:"dns_domain" db:"dns_domain"`
	Details   *PortDetail `json:"port_details" db:"-"`
}

// PortDetail is what a floating IP tells about its port.
type PortDetail struct {
	Name         string `json:"name"`
	NetworkID    string `json:"network_id"`
	MAC          string `json:"mac_address"`
	AdminStateUp bool   `json:"admin_state_up"`
	Status       string `json:"status"`
	DeviceID     string `json:"device_id"`
	DeviceOwner  string `json:"device_owner"`
}
