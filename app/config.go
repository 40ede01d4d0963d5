package app

import (
	"github.com/tropocloud/tropo/bus/dial"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/placement"
)

// Config is everything that can be configured, as INI groups; each service's
// options are its own struct.
type Config struct {
	Host         string `config:"host" help:"Name of this machine within the cloud; empty: its host name."`
	EnforceScope bool   `config:"enforce_scope" default:"false" help:"Refuse tokens whose scope a policy rule does not list."`
	PolicyDir    string `config:"policy_dir" help:"Folder with the operator's policy files, SERVICE.yaml or SERVICE.json each; empty: none."`
	Accelerator  string `config:"accelerator" choices:"kvm,tcg" help:"How guests run; empty: kvm where a probe guest runs with it, else tcg."`

	Node struct {
		Roles             []string `config:"roles" default:"control,compute,network,storage" help:"What this machine does in the cloud."`
		ManagementAddress string   `config:"management_address" help:"Address at which the other nodes reach this one: APIs, the bus, the dataplane's databases. Empty: the cloud has one machine."`
		StorageAddress    string   `config:"storage_address" help:"Address for image and volume data; empty: the management address."`
		PublicEndpoint    string   `config:"public_endpoint" help:"URL under which clients reach the cloud, as in https://cloud.example.org: a balancer before the control nodes. Empty: the listener of the first one."`
		ServiceAddress    string   `config:"service_address" help:"Address of the tunnels of guests' networks; empty: the management address."`
		ServiceInterface  string   `config:"service_interface" help:"Link for the tunnels that the cloud's switch may take for itself, where it runs in user space; empty: the tunnels share the host's own stack."`
		ProviderInterface string   `config:"provider_interface" help:"Link to the outside that the cloud's provider bridge may take for itself; empty: the bridge is linked to this host alone."`
	} `config:"node"`

	Database struct {
		Connection string `config:"connection" secret:"true" help:"Database URL with %s for the service's name, as in postgres://tropo@db/tropo_%s; empty: SQLite files in the state folder."`
	} `config:"database"`

	Bus dial.Config `config:"bus"`

	Tracing struct {
		Endpoint string `config:"endpoint" help:"OTLP/HTTP collector that gets traces, as in http://127.0.0.1:4318; empty: none."`
	} `config:"tracing"`

	Identity  identity.Config  `config:"identity"`
	Image     image.Config     `config:"image"`
	Placement placement.Config `config:"placement"`
	Compute   compute.Config   `config:"compute"`
	Network   network.Config   `config:"network"`
}
