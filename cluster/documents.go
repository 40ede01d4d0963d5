package cluster

import (
	"net/netip"
	"time"
)

// Ports of a node's management address.
const (
	ManagementPort = 5443 // TLS: every API and /cluster
	BusPort        = 4222 // the embedded message broker: nodes
	RoutePort      = 6222 // the embedded message broker: its peers on the other control nodes
)

// AnyControl is the host in URLs that stands for whichever control node
// answers; it is in every control node's certificate and in no DNS.
const AnyControl = "control.tropo.internal"

// NodeDocument is a node on the wire and in node.json.
type NodeDocument struct {
	Name       string     `json:"name"`
	Roles      []Role     `json:"roles"`
	Management netip.Addr `json:"management_address,omitzero"`
	Storage    netip.Addr `json:"storage_address,omitzero"`
	Service    netip.Addr `json:"service_address,omitzero"`
	Joined     time.Time  `json:"joined_at,omitzero"`
	Seen       time.Time  `json:"seen_at,omitzero"`
	Version    string     `json:"version,omitempty"` // of the program it runs
	Revoked    bool       `json:"revoked,omitempty"`
}

// Document is the node as it travels.
func (n Node) Document() NodeDocument { return NodeDocument(n) }

// Node is the node that the document describes.
func (d NodeDocument) Node() Node { return Node(d) }

// JoinRequest is the body of POST /cluster/v1/join.
type JoinRequest struct {
	TokenID string       `json:"token_id"`
	Secret  string       `json:"secret"`
	Node    NodeDocument `json:"node"`
	Request string       `json:"certificate_request"` // PEM
}

// Membership is what every node is told at join and at heartbeats.
type Membership struct {
	Node     NodeDocument   `json:"node"`
	Controls []NodeDocument `json:"controls"`
	// Bus is the URL of the message broker; empty: the one that is embedded
	// in the control nodes.
	Bus string `json:"bus,omitempty"`
	// Public is the URL under which clients reach the cloud.
	Public string `json:"public_endpoint,omitempty"`
}

// Enrolment is the answer to a join.
type Enrolment struct {
	Membership
	Certificate string `json:"certificate"` // PEM
	CA          string `json:"ca"`          // PEM
	// User and Password are the node's own in identity; none on a control
	// node, where the services' users are.
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	// Metadata is the secret between the node's metadata proxy and compute.
	Metadata string `json:"metadata_secret,omitempty"`
}

// ControlDocument is what a control node gets beyond its enrolment, over a
// connection that its certificate authenticates.
type ControlDocument struct {
	Secrets  map[string]string `json:"secrets"`            // files of the state folder, by path
	Database string            `json:"database,omitempty"` // [database] connection
	Bus      string            `json:"bus,omitempty"`      // [bus] transport_url
	Keys     Keys              `json:"keys"`
}

// Keys are the files of identity's key repositories, by path.
type Keys struct {
	Digest string            `json:"digest"` // changes with the files
	Files  map[string]string `json:"files,omitempty"`
}
