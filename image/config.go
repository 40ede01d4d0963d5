package image

import "time"

// Config are the options of the image service, named as Glance's.
type Config struct {
	StorageQuota  int64         `config:"user_storage_quota" default:"0" min:"0" help:"Bytes of image data that a project may keep; 0: no limit."`
	SizeCap       int64         `config:"image_size_cap" default:"1099511627776" min:"1" help:"Bytes of the largest image."`
	PropertyQuota int           `config:"image_property_quota" default:"128" min:"-1" help:"Properties of an image; -1: no limit."`
	TagQuota      int           `config:"image_tag_quota" default:"128" min:"-1" help:"Tags of an image; -1: no limit."`
	MemberQuota   int           `config:"image_member_quota" default:"128" min:"-1" help:"Members of an image; -1: no limit."`
	LimitDefault  int           `config:"limit_param_default" default:"25" min:"1" help:"Images on a page without a limit."`
	LimitMax      int           `config:"api_limit_max" default:"1000" min:"1" help:"The most images on a page."`
	Replicas      int           `config:"replicas" default:"2" min:"1" help:"How many control nodes keep each image's data, where that many live. An image becomes active when they have it."`
	FormatMatch   bool          `config:"require_image_format_match" default:"false" help:"Refuse content that is labelled vhd, vhdx, vdi, vmdk or iso and is none of the known formats."`
	ImportMethods []string      `config:"enabled_import_methods" default:"glance-direct,web-download" help:"How images can be imported."`
	TaskLife      time.Duration `config:"task_time_to_live" default:"172800" help:"How long a finished task is kept."`

	Import struct {
		AllowedSchemes []string      `config:"allowed_schemes" default:"http,https" help:"URL schemes of web-download."`
		AllowedPorts   []string      `config:"allowed_ports" default:"80,443" help:"Ports of web-download."`
		AllowedHosts   []string      `config:"allowed_hosts" help:"Hosts of web-download; empty: all that are not internal."`
		BlockedHosts   []string      `config:"disallowed_hosts" help:"Hosts that web-download refuses."`
		AllowedNets    []string      `config:"allowed_networks" help:"Internal networks (CIDR) that web-download may reach all the same."`
		Timeout        time.Duration `config:"timeout" default:"3600" help:"How long one download may take."`
	} `config:"import_filtering_opts"`
}
