package network

import (
	"net/netip"
)

// Subnet is an address range of a network.
type Subnet struct {
	Standard
	Name         string       `json:"name" db:"name"`
	NetworkID    string       `json:"network_id" db:"network_id"`
	IPVersion    int          `json:"ip_version" db:"ip_version"`
	CIDR         string       `json:"cidr" db:"cidr"`
	GatewayIP    *string      `json:"gateway_ip" db:"gateway_ip"`
	EnableDHCP   bool         `json:"enable_dhcp" db:"enable_dhcp"`
	RAMode       *string      `json:"ipv6_ra_mode" db:"ipv6_ra_mode"`
	AddressMode  *string      `json:"ipv6_address_mode" db:"ipv6_address_mode"`
	Pools        List[Pool]   `json:"allocation_pools" db:"allocation_pools"`
	DNS          List[string] `json:"dns_nameservers" db:"dns_nameservers"`
	HostRoutes   List[Route]  `json:"host_routes" db:"host_routes"`
	ServiceTypes List[string] `json:"service_types" db:"service_types"`
	SubnetPoolID *string      `json:"subnetpool_id" db:"subnetpool_id"`
	DNSPublish   bool         `json:"dns_publish_fixed_ip" db:"dns_publish_fixed_ip"`
	SegmentID    *string      `json:"segment_id" db:"-"`
	// Shared and External are those of the network.
	Shared   bool `json:"shared" db:"-"`
	External bool `json:"router:external" db:"-"`
}

// Pool is a range of addresses, both ends included.
type Pool struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// Route sends Destination (a CIDR) over NextHop.
type Route struct {
	Destination string `json:"destination"`
	NextHop     string `json:"nexthop"`
}

// Prefix is the CIDR, parsed; the stored text is always valid.
func (s *Subnet) Prefix() netip.Prefix {
	p, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Gateway is the gateway's address; the zero Addr when there is none.
func (s *Subnet) Gateway() netip.Addr {
	if s.GatewayIP == nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(*s.GatewayIP)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// GatewayPrefix is the gateway's address with the subnet's length; the zero
// Prefix when there is none, or none within the subnet.
func (s *Subnet) GatewayPrefix() netip.Prefix {
	gw, p := s.Gateway(), s.Prefix()
	if !gw.IsValid() || !p.Contains(gw) {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(gw, p.Bits())
}

// Auto reports whether ports derive their address from their MAC (SLAAC and
// stateless DHCPv6).
func (s *Subnet) Auto() bool {
	return s.IPVersion == 6 && s.AddressMode != nil && (*s.AddressMode == "slaac" || *s.AddressMode == "dhcpv6-stateless")
}

// SubnetPool is a stock of prefixes from which subnets are cut.
type SubnetPool struct {
	Standard
	Name           string       `json:"name" db:"name"`
	Prefixes       List[string] `json:"prefixes" db:"prefixes"`
	IPVersion      int          `json:"ip_version" db:"ip_version"`
	DefaultLen     int          `json:"default_prefixlen" db:"default_prefixlen"`
	MinLen         int          `json:"min_prefixlen" db:"min_prefixlen"`
	MaxLen         int          `json:"max_prefixlen" db:"max_prefixlen"`
	DefaultQuota   *int         `json:"default_quota" db:"default_quota"`
	IsDefault      bool         `json:"is_default" db:"is_default"`
	AddressScopeID *string      `json:"address_scope_id" db:"address_scope_id"`
	Shared         bool         `json:"shared" db:"-"`
}

// AddressScope says that the addresses of its subnet pools don't overlap.
type AddressScope struct {
	Standard
	Name      string `json:"name" db:"name"`
	IPVersion int    `json:"ip_version" db:"ip_version"`
	Shared    bool   `json:"shared" db:"-"`
}
