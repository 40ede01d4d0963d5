package compute

import (
	"fmt"
	"time"
)

// Config are the options of the compute service, named as Nova's.
type Config struct {
	CPURatio       float64       `config:"initial_cpu_allocation_ratio" default:"16" min:"0.1" help:"How many virtual processors a host offers for each of its own."`
	RAMRatio       float64       `config:"initial_ram_allocation_ratio" default:"1.5" min:"0.1" help:"How much memory a host offers for each MiB of its own."`
	DiskRatio      float64       `config:"initial_disk_allocation_ratio" default:"1" min:"0.1" help:"How much disk a host offers for each GiB of its own."`
	ReservedMB     int           `config:"reserved_host_memory_mb" default:"512" min:"0" help:"Memory in MiB that guests never get."`
	ReservedCPUs   int           `config:"reserved_host_cpus" default:"0" min:"0" help:"Processors that guests never get."`
	ReservedDiskMB int           `config:"reserved_host_disk_mb" default:"0" min:"0" help:"Disk in MiB that guests never get."`
	ReportInterval time.Duration `config:"report_interval" default:"10" help:"How often an agent gives a sign of life."`
	DownTime       time.Duration `config:"service_down_time" default:"60" help:"After this long without a sign of life a service is down."`
	SyncInterval   time.Duration `config:"sync_power_state_interval" default:"60" help:"How often an agent compares its guests with what they should be."`
	HealInterval   time.Duration `config:"heal_instance_info_cache_interval" default:"60" help:"How often what is known of a server's ports is refreshed."`
	PlugTimeout    time.Duration `config:"vif_plugging_timeout" default:"60" help:"How long a new server waits for its ports to come up; 0: not at all."`
	PlugFatal      bool          `config:"vif_plugging_is_fatal" default:"false" help:"Fail the server when its ports do not come up in time."`
	ShutdownGrace  time.Duration `config:"shutdown_timeout" default:"60" help:"How long a guest may take to shut down before it is ended by force."`
	BuildTimeout   time.Duration `config:"instance_build_timeout" default:"600" help:"How long fetching an image or starting a guest may take."`
	ResumeGuests   bool          `config:"resume_guests_state_on_host_boot" default:"true" help:"Start the guests that ran before their host went down when it is back."`
	Reclaim        time.Duration `config:"reclaim_instance_interval" default:"0" help:"How long a deleted server can be restored; 0: it is gone at once."`
	HistoryDays    int           `config:"history_days" default:"30" min:"1" help:"How many days deleted servers are listed."`
	HistoryMax     int           `config:"history_max" default:"100000" min:"1000" help:"How many deleted servers are listed at most."`
	MaxLimit       int           `config:"max_limit" default:"1000" min:"1" help:"The most that one page of a list holds."`
	DefaultZone    string        `config:"default_availability_zone" default:"nova" help:"Availability zone of hosts that are in none."`
	InternalZone   string        `config:"internal_service_availability_zone" default:"internal" help:"Availability zone of services that run no guests."`
	ScheduleZone   string        `config:"default_schedule_zone" help:"Availability zone of servers that name none; empty: any."`
	ForceDrive     bool          `config:"force_config_drive" default:"false" help:"Give every server a config drive."`
	AdminPassword  bool          `config:"enable_instance_password" default:"true" help:"Return a password from create and rebuild."`
	DHCPDomain     string        `config:"dhcp_domain" default:"novalocal" help:"Domain of the host names in the metadata; empty: none."`
	DiskFormat     string        `config:"snapshot_image_format" default:"qcow2" choices:"qcow2,raw" help:"Format that images of servers are said to have before they are made."`

	MetadataSecret string `config:"metadata_proxy_shared_secret" secret:"true" help:"Key with which the network service signs who asks for metadata."`

	Scheduler struct {
		Driver          string   `config:"driver" default:"filter" choices:"filter,chance,simple,multi" help:"How a host is chosen."`
		Filters         []string `config:"enabled_filters" default:"ComputeFilter,AvailabilityZoneFilter,ImagePropertiesFilter,ComputeCapabilitiesFilter,AggregateInstanceExtraSpecsFilter,AggregateMultiTenancyIsolation,ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter,SameHostFilter,DifferentHostFilter,JsonFilter,CoreFilter,RamFilter" help:"What a host must pass."`
		MaxCandidates   int      `config:"max_placement_results" default:"1000" min:"1" help:"How many hosts placement is asked for."`
		Attempts        int      `config:"max_attempts" default:"3" min:"1" help:"How many times a claim is tried with fresh candidates."`
		SubsetSize      int      `config:"host_subset_size" default:"1" min:"1" help:"Choose at random among this many of the best hosts."`
		RAMWeight       float64  `config:"ram_weight_multiplier" default:"1" help:"Weight of free memory; negative: pack."`
		CPUWeight       float64  `config:"cpu_weight_multiplier" default:"1" help:"Weight of free processors; negative: pack."`
		DiskWeight      float64  `config:"disk_weight_multiplier" default:"1" help:"Weight of free disk; negative: pack."`
		InstancesWeight float64  `config:"num_instances_weight_multiplier" default:"0" help:"Weight of the number of guests; negative: spread."`
		AffinityWeight  float64  `config:"soft_affinity_weight_multiplier" default:"1" help:"Weight of guests of the same soft-affinity group."`
		AntiWeight      float64  `config:"soft_anti_affinity_weight_multiplier" default:"1" help:"Weight of guests of the same soft-anti-affinity group."`
	} `config:"filter_scheduler"`

	Quota struct {
		Instances    int `config:"instances" default:"10" min:"-1" help:"Servers of a project."`
		Cores        int `config:"cores" default:"20" min:"-1" help:"Virtual processors of a project."`
		RAM          int `config:"ram" default:"51200" min:"-1" help:"Memory in MiB of a project."`
		Metadata     int `config:"metadata_items" default:"128" min:"-1" help:"Metadata items of a server."`
		Files        int `config:"injected_files" default:"5" min:"-1" help:"Injected files of a server."`
		FileBytes    int `config:"injected_file_content_bytes" default:"10240" min:"-1" help:"Bytes of an injected file."`
		FilePath     int `config:"injected_file_path_length" default:"255" min:"-1" help:"Length of an injected file's path."`
		KeyPairs     int `config:"key_pairs" default:"100" min:"-1" help:"Key pairs of a user."`
		Groups       int `config:"server_groups" default:"10" min:"-1" help:"Server groups of a project."`
		GroupMembers int `config:"server_group_members" default:"10" min:"-1" help:"Servers of a server group."`
	} `config:"quota"`
}

// Validate checks what the tags cannot say.
func (c *Config) Validate() error {
	if c.ReportInterval <= 0 || c.SyncInterval <= 0 || c.HealInterval <= 0 || c.BuildTimeout <= 0 {
		return fmt.Errorf("the intervals of the compute service must be positive")
	}
	if c.DownTime < 2*c.ReportInterval {
		return fmt.Errorf("service_down_time must be at least twice report_interval")
	}
	return nil
}

// DefaultLimits are the limits that the configuration sets.
func (c *Config) DefaultLimits() Limits {
	q := &c.Quota
	return Limits{
		QuotaInstances: q.Instances, QuotaCores: q.Cores, QuotaRAM: q.RAM, QuotaKeyPairs: q.KeyPairs,
		QuotaMetadata: q.Metadata, QuotaFiles: q.Files, QuotaFileBytes: q.FileBytes, QuotaFilePath: q.FilePath,
		QuotaGroups: q.Groups, QuotaGroupMembers: q.GroupMembers,
	}
}
