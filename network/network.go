package network

import "github.com/tropocloud/tropo/fault"

// The statuses of networks, ports, routers and floating IPs.
const (
	StatusActive = "ACTIVE"
	StatusDown   = "DOWN"
	StatusBuild  = "BUILD"
	StatusError  = "ERROR"
)

// The network types (provider:network_type).
const (
	TypeGeneve = "geneve"
	TypeFlat   = "flat"
	TypeVLAN   = "vlan"
)

// Network is a layer 2 segment.
type Network struct {
	Standard
	Name            string       `json:"name" db:"name"`
	AdminStateUp    bool         `json:"admin_state_up" db:"admin_state_up"`
	Status          string       `json:"status" db:"status"`
	MTU             int          `json:"mtu" db:"mtu"`
	PortSecurity    bool         `json:"port_security_enabled" db:"port_security_enabled"`
	External        bool         `json:"router:external" db:"external"`
	IsDefault       bool         `json:"is_default" db:"is_default"`
	DNSDomain       string       `json:"dns_domain" db:"dns_domain"`
	AZHints         List[string] `json:"availability_zone_hints" db:"az_hints"`
	NetworkType     string       `json:"provider:network_type" db:"network_type"`
	PhysicalNetwork *string      `json:"provider:physical_network" db:"physical_network"`
	SegmentationID  *int         `json:"provider:segmentation_id" db:"segmentation_id"`
	// SegmentKey is unique: it keeps two networks off one segment.
	SegmentKey string `json:"-" db:"segment_key"`

	Shared    bool         `json:"shared" db:"-"`
	SubnetIDs List[string] `json:"subnets" db:"-"`
	AZs       List[string] `json:"availability_zones" db:"-"`
	V4Scope   *string      `json:"ipv4_address_scope" db:"-"`
	V6Scope   *string      `json:"ipv6_address_scope" db:"-"`
	L2Adj     bool         `json:"l2_adjacency" db:"-"`
}

// MinimumMTU returns the least MTU that a network with such subnets may have
// (RFC 791, RFC 8200).
func MinimumMTU(ipv6 bool) int {
	if ipv6 {
		return 1280
	}
	return 68
}

// RBACPolicy shows an object to another project.
type RBACPolicy struct {
	Standard
	ObjectType   string `json:"object_type" db:"object_type"`
	ObjectID     string `json:"object_id" db:"object_id"`
	Action       string `json:"action" db:"action"`
	TargetTenant string `json:"target_tenant" db:"target_project"`
}

// The actions of RBAC policies.
const (
	ActionShared   = "access_as_shared"
	ActionExternal = "access_as_external"
)

// ValidRBAC checks the object type and action of a new RBAC policy.
func ValidRBAC(objectType, action string) error {
	switch objectType {
	case "network":
		if action == ActionExternal || action == ActionShared {
			return nil
		}
	case "subnetpool", "address_scope", "security_group", "address_group":
		if action == ActionShared {
			return nil
		}
	default:
		return fault.Invalidf("Invalid input for object_type. Reason: '%s' is not a valid object type for RBAC policies.", objectType).WithType("HTTPBadRequest")
	}
	return fault.Invalidf("Invalid action '%s' for object type '%s'. Valid actions: %s", action, objectType, ActionShared).WithType("InvalidInput")
}

// Agent is a process that serves the dataplane on a host.
type Agent struct {
	Standard
	AgentType    string  `json:"agent_type" db:"agent_type"`
	Binary       string  `json:"binary" db:"binary_name"`
	Host         string  `json:"host" db:"host"`
	Topic        string  `json:"topic" db:"topic"`
	AZ           string  `json:"availability_zone" db:"availability_zone"`
	AdminStateUp bool    `json:"admin_state_up" db:"admin_state_up"`
	Config       Map     `json:"configurations" db:"configurations"`
	Started      string  `json:"started_at" db:"started_at"`
	Heartbeat    string  `json:"heartbeat_timestamp" db:"heartbeat_at"`
	Alive        bool    `json:"alive" db:"-"`
	Synced       *bool   `json:"resources_synced" db:"-"`
	LastSeen     float64 `json:"-" db:"last_seen"` // seconds since 1970
}

// Flavor is a kind of router service that users may choose.
type Flavor struct {
	Standard
	Name        string       `json:"name" db:"name"`
	ServiceType string       `json:"service_type" db:"service_type"`
	Enabled     bool         `json:"enabled" db:"enabled"`
	Profiles    List[string] `json:"service_profiles" db:"-"`
}

// ServiceProfile is a driver setting that flavors refer to.
type ServiceProfile struct {
	Standard
	Driver   string `json:"driver" db:"driver"`
	Enabled  bool   `json:"enabled" db:"enabled"`
	Metainfo string `json:"metainfo" db:"metainfo"`
}
