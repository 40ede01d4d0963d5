package network

import "time"

// TopicManager is the bus topic of the managers, one server on each control
// node.
const TopicManager = "network"

// Methods of TopicManager.
const (
	MethodReport = "host.report" // HostReport → HostOrders
	MethodWake   = "wake"        // fan-out: rows have changed that the dataplane must follow
)

// HostReport is what a host's chassis tells of itself with each heartbeat.
type HostReport struct {
	Host string `json:"host"`
	// Connected: the controller speaks with the southbound database, so
	// ports can come up.
	Connected bool `json:"connected"`
	// Metadata: guests of the host are answered.
	Metadata bool `json:"metadata"`
	// Gateway: routers' gateways may be here.
	Gateway bool `json:"gateway"`
	// HostLink: the provider bridge leads to the host and no further, so the
	// host shall have the addresses of external gateways.
	HostLink         bool      `json:"host_link"`
	VIFType          string    `json:"vif_type"`
	Bridge           string    `json:"bridge"`
	DatapathType     string    `json:"datapath_type"`
	PhysicalNetworks []string  `json:"physical_networks"`
	EncapType        string    `json:"encap_type"`
	EncapIP          string    `json:"encap_ip"`
	Started          time.Time `json:"started"`
}

// HostOrders is what a manager answers.
type HostOrders struct {
	// Provider are the addresses, with the subnet's length, that a host with
	// HostLink has on the provider network, and no others.
	Provider []string `json:"provider,omitempty"`
}

// Types of agents, as Neutron names those of OVN.
const (
	AgentController = "OVN Controller agent"
	AgentGateway    = "OVN Controller Gateway agent"
	AgentMetadata   = "OVN Metadata agent"
)

// IsController says whether an agent wires ports.
func (a *Agent) IsController() bool {
	return a.AgentType == AgentController || a.AgentType == AgentGateway
}
