package compute

import "time"

// Flavor is a size that servers can have.
type Flavor struct {
	ID          string            `db:"id" json:"id"`
	Name        string            `db:"name" json:"name"`
	Description *string           `db:"description" json:"description,omitempty"`
	VCPUs       int               `db:"vcpus" json:"vcpus"`
	MemoryMB    int               `db:"memory_mb" json:"memory_mb"`
	RootGB      int               `db:"root_gb" json:"root_gb"`
	EphemeralGB int               `db:"ephemeral_gb" json:"ephemeral_gb"`
	SwapMB      int               `db:"swap_mb" json:"swap_mb"`
	RxTxFactor  float64           `db:"rxtx_factor" json:"rxtx_factor"`
	Public      bool              `db:"is_public" json:"is_public"`
	Disabled    bool              `db:"disabled" json:"disabled"`
	CreatedAt   time.Time         `db:"created_at" json:"created_at"`
	ExtraSpecs  map[string]string `json:"extra_specs,omitempty"`
}

// DiskGB is what a server of this flavor takes of DISK_GB.
func (f Flavor) DiskGB() int { return f.RootGB + f.EphemeralGB + (f.SwapMB+1023)/1024 }

// KeyPair is a public key that a user gives to servers.
type KeyPair struct {
	ID          int64     `db:"id"`
	UserID      string    `db:"user_id"`
	Name        string    `db:"name"`
	Type        string    `db:"type"` // ssh or x509
	PublicKey   string    `db:"public_key"`
	Fingerprint string    `db:"fingerprint"`
	CreatedAt   time.Time `db:"created_at"`
}

// The types of key pairs.
const (
	KeySSH  = "ssh"
	KeyX509 = "x509"
)
