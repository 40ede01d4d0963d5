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
