package compute

import "time"

// The binaries of os-services.
const (
	BinaryCompute   = "nova-compute"
	BinaryScheduler = "nova-scheduler"
	BinaryConductor = "nova-conductor"
)

// Service is a process of the compute service (os-services).
type Service struct {
	ID             int64      `db:"id"`
	UUID           string     `db:"uuid"`
	Host           string     `db:"host"`
	Binary         string     `db:"service_binary"`
	Disabled       bool       `db:"disabled"`
	DisabledReason *string    `db:"disabled_reason"`
	ForcedDown     bool       `db:"forced_down"`
	SeenAt         *time.Time `db:"seen_at"`
	UpdatedAt      *time.Time `db:"updated_at"`
	CreatedAt      time.Time  `db:"created_at"`
}

// Up reports whether the service gave a sign of life within downTime.
func (s *Service) Up(now time.Time, downTime time.Duration) bool {
	return !s.ForcedDown && s.SeenAt != nil && now.Sub(*s.SeenAt) <= downTime
}

// Node is a hypervisor (os-hypervisors).
type Node struct {
	ID        int64     `db:"id"`
	UUID      string    `db:"uuid"` // also of its resource provider
	Host      string    `db:"host"`
	Name      string    `db:"name"` // hypervisor_hostname
	BootID    string    `db:"boot_id"`
	Synced    bool      `db:"synced"` // placement has this inventory
	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
	Inventory Inventory // kept as one document
}

// Inventory is what a hypervisor offers.
type Inventory struct {
	Type         string   `json:"type"`
	Version      int      `json:"version"`
	IP           string   `json:"ip"`
	VCPUs        int      `json:"vcpus"`
	MemoryMB     int      `json:"memory_mb"`
	DiskGB       int      `json:"disk_gb"`
	FreeDiskGB   int      `json:"free_disk_gb"`
	ReservedCPUs int      `json:"reserved_cpus"`
	ReservedMB   int      `json:"reserved_mb"`
	ReservedGB   int      `json:"reserved_gb"`
	CPURatio     float64  `json:"cpu_ratio"`
	RAMRatio     float64  `json:"ram_ratio"`
	DiskRatio    float64  `json:"disk_ratio"`
	CPU          CPU      `json:"cpu"`
	Traits       []string `json:"traits"`
	Uptime       string   `json:"uptime"`
	Simulated    bool     `json:"simulated"` // guests of the fake driver: nothing plugs ports
}

// CPU is cpu_info of os-hypervisors.
type CPU struct {
	Arch     string   `json:"arch"`
	Model    string   `json:"model"`
	Vendor   string   `json:"vendor"`
	Features []string `json:"features"`
	Sockets  int      `json:"sockets"`
	Cores    int      `json:"cores"`
	Threads  int      `json:"threads"`
}

// Aggregate is a set of hosts with metadata.
type Aggregate struct {
	ID        int64      `db:"id"`
	UUID      string     `db:"uuid"`
	Name      string     `db:"name"`
	CreatedAt time.Time  `db:"created_at"`
	UpdatedAt *time.Time `db:"updated_at"`
	Hosts     []string
	Metadata  map[string]string
}

// ZoneKey is the metadata that makes an aggregate an availability zone.
const ZoneKey = "availability_zone"

// Zone is the availability zone that the aggregate stands for, or "".
func (a *Aggregate) Zone() string { return a.Metadata[ZoneKey] }

// Group is a server group.
type Group struct {
	ID         string    `db:"id"`
	ProjectID  string    `db:"project_id"`
	UserID     string    `db:"user_id"`
	Name       string    `db:"name"`
	Policy     string    `db:"policy"`
	MaxPerHost int       `db:"max_per_host"` // rule max_server_per_host of anti-affinity; 0: not set
	CreatedAt  time.Time `db:"created_at"`
	Members    []string
}

// The policies of server groups.
const (
	Affinity         = "affinity"
	AntiAffinity     = "anti-affinity"
	SoftAffinity     = "soft-affinity"
	SoftAntiAffinity = "soft-anti-affinity"
)
