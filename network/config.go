package network

// Config holds the options of the network service; the names are Neutron's
// where it has one.
type Config struct {
	Host             string   `config:"host" help:"Name of this host, as in binding:host_id. Empty: the host's name."`
	GlobalMTU        int      `config:"global_physnet_mtu" default:"1500" min:"1280" max:"65535" help:"MTU of the physical network in bytes, from which the MTU of tenant networks is derived."`
	DNSDomain        string   `config:"dns_domain" default:"openstacklocal." help:"DNS domain of guests."`
	BaseMAC          string   `config:"base_mac" default:"fa:16:3e:00:00:00" help:"The first three bytes of generated MAC addresses."`
	MaxDNS           int      `config:"max_dns_nameservers" default:"5" min:"0" help:"Most DNS servers of a subnet."`
	MaxHostRoutes    int      `config:"max_subnet_host_routes" default:"20" min:"0" help:"Most host routes of a subnet."`
	MaxRoutes        int      `config:"max_routes" default:"30" min:"0" help:"Most extra routes of a router."`
	MaxAddressPairs  int      `config:"max_allowed_address_pair" default:"10" min:"0" help:"Most allowed address pairs of a port."`
	MaxFixedIPs      int      `config:"max_fixed_ips_per_port" default:"5" min:"1" help:"Most fixed IPs of a port."`
	MaxPage          int      `config:"pagination_max_limit" default:"10000" min:"1" help:"Most items of one list answer."`
	AgentDownTime    int      `config:"agent_down_time" default:"75" min:"2" help:"Seconds after the last heartbeat when an agent counts as down."`
	Zone             string   `config:"availability_zone" default:"nova" help:"Availability zone of this host."`
	ExternalPhysical string   `config:"external_physical_network" default:"public" help:"The physical network of external networks made without provider attributes."`
	ExternalTunnels  bool     `config:"external_tunnel_networks" default:"true" help:"Give external networks without provider attributes a tunnel when the physical network is in use, as Neutron does. Such a network cannot be reached from outside."`
	FlatNetworks     []string `config:"flat_networks" default:"*" help:"Physical networks that flat networks may use; * means all."`
	VLANRanges       []string `config:"network_vlan_ranges" help:"Ranges of VLAN ids for allocation, as physical:first:last."`
	NotifyCompute    bool     `config:"notify_nova_on_port_status_changes" default:"true" help:"Tell compute when ports come up."`
	Quota            Quotas   `config:"quotas"`
	MetadataSecret   string   `config:"metadata_proxy_shared_secret" secret:"true" help:"Shared with compute's metadata service: signs instance ids."`
	MetadataURL      string   `config:"nova_metadata_url" help:"URL of compute's metadata service, such as http://127.0.0.1:8775."`
	SyncInterval     int      `config:"sync_interval" default:"300" min:"10" help:"Seconds between full comparisons of the dataplane with the database."`
}

// Quotas are the default limits per project; -1 means none.
type Quotas struct {
	Network           int `config:"quota_network" default:"100" help:"Networks."`
	Subnet            int `config:"quota_subnet" default:"100" help:"Subnets."`
	Port              int `config:"quota_port" default:"500" help:"Ports."`
	Router            int `config:"quota_router" default:"10" help:"Routers."`
	FloatingIP        int `config:"quota_floatingip" default:"50" help:"Floating IPs."`
	SecurityGroup     int `config:"quota_security_group" default:"10" help:"Security groups."`
	SecurityGroupRule int `config:"quota_security_group_rule" default:"100" help:"Security group rules."`
	SubnetPool        int `config:"quota_subnetpool" default:"-1" help:"Subnet pools."`
	RBACPolicy        int `config:"quota_rbac_policy" default:"10" help:"RBAC policies."`
	AddressGroup      int `config:"quota_address_group" default:"10" help:"Address groups."`
}

// Defaults returns the limits by quota name.
func (q Quotas) Defaults() map[string]int {
	return map[string]int{
		"network": q.Network, "subnet": q.Subnet, "port": q.Port, "router": q.Router, "floatingip": q.FloatingIP,
		"security_group": q.SecurityGroup, "security_group_rule": q.SecurityGroupRule, "subnetpool": q.SubnetPool,
		"rbac_policy": q.RBACPolicy, "address_group": q.AddressGroup,
	}
}
