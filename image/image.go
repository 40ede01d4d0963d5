package image

import (
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// Status is where an image is in its life (Image API v2, "Image status").
type Status string

// The statuses.
const (
	StatusQueued      Status = "queued"      // no data yet
	StatusSaving      Status = "saving"      // data is being uploaded
	StatusUploading   Status = "uploading"   // data is, or is being, staged
	StatusImporting   Status = "importing"   // an import is under way
	StatusActive      Status = "active"      // has data
	StatusDeactivated Status = "deactivated" // has data that only admins may read
)

// Visibility says who sees an image.
type Visibility string

// The visibilities.
const (
	Private   Visibility = "private"
	Shared    Visibility = "shared"
	Community Visibility = "community"
	Public    Visibility = "public"
)

// DiskFormats are the disk formats that an image may declare.
func DiskFormats() []string {
	return []string{"ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"}
}

// ContainerFormats are the container formats that an image may declare.
func ContainerFormats() []string {
	return []string{"ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"}
}

// Image is an image's row. Pointers are nil where the API shows null.
type Image struct {
	ID              string     `db:"id"`
	Name            *string    `db:"name"`
	Status          Status     `db:"status"`
	Visibility      Visibility `db:"visibility"`
	Owner           string     `db:"owner_id"`
	Size            *int64     `db:"size_bytes"`
	VirtualSize     *int64     `db:"virtual_size"`
	DiskFormat      *string    `db:"disk_format"`
	ContainerFormat *string    `db:"container_format"`
	Checksum        *string    `db:"checksum"` // MD5, hexadecimal
	HashAlgo        *string    `db:"hash_algo"`
	HashValue       *string    `db:"hash_value"`
	MinDisk         int64      `db:"min_disk"`
	MinRAM          int64      `db:"min_ram"`
	Protected       bool       `db:"protected"`
	Hidden          bool       `db:"hidden"`
	CreatedAt       time.Time  `db:"created_at"`
	UpdatedAt       time.Time  `db:"updated_at"`

	// Store and DataKey say where the data lies; DataKey is never shown.
	Store   string `db:"store_name"`
	DataKey string `db:"data_key"`
	// UploadKey is the data that is being written or was staged.
	UploadKey string `db:"upload_key"`
	// UploadOwner and UploadBeat are the lease of the process that writes.
	UploadOwner string     `db:"upload_owner"`
	UploadBeat  *time.Time `db:"upload_beat"`

	Properties map[string]string `db:"-"`
	Tags       []string          `db:"-"`
}

// HasData reports whether the image's data can be read by somebody.
func (i *Image) HasData() bool {
	return i.Status == StatusActive || i.Status == StatusDeactivated
}

// Format returns the disk format, "" where it is not set.
func (i *Image) Format() string {
	if i.DiskFormat == nil {
		return ""
	}
	return *i.DiskFormat
}

// Ready says why an image cannot take data yet: its formats must be known.
func (i *Image) Ready() error {
	switch {
	case i.ContainerFormat == nil:
		return fault.Invalidf("Properties container_format must be set prior to saving data.")
	case i.DiskFormat == nil:
		return fault.Invalidf("Properties disk_format must be set prior to saving data.")
	}
	return nil
}

// Reserved reports whether a property belongs to the service itself, so that
// no request may set it.
func Reserved(property string) bool { return strings.HasPrefix(property, "os_glance") }

// Viewer is who asks for images, for what only SQL can decide: which rows.
type Viewer struct {
	Project string
	Admin   bool
}

// Owns reports whether the image is of the viewer's project.
func (v Viewer) Owns(i *Image) bool { return v.Project != "" && v.Project == i.Owner }

// Sees reports whether the viewer may know of the image; member says that the
// viewer's project is one of its members.
func (v Viewer) Sees(i *Image, member bool) bool {
	if v.Admin || v.Owns(i) || i.Visibility == Public || i.Visibility == Community {
		return true
	}
	return i.Visibility == Shared && member
}

// Filter narrows a list of images. The zero value lists what a viewer sees by
// default.
type Filter struct {
	Visibility   string // one of the visibilities, "all", or "" for the default
	MemberStatus string // of shared images: accepted (default), pending, rejected, all
	Hidden       bool
	Owner        *string
	Protected    *bool
	SizeMin      *int64
	SizeMax      *int64
	Tags         []string
	Properties   map[string]string
	Matches      []Match
}

// Match compares a column of Columns with values.
type Match struct {
	Column string
	Op     string // in, eq, neq, gt, gte, lt, lte
	Values []any
}

// Columns maps the attributes that may be compared to their columns.
func Columns() map[string]string {
	return map[string]string{
		"id": "id", "name": "name", "status": "status", "size": "size_bytes", "disk_format": "disk_format",
		"container_format": "container_format", "checksum": "checksum", "min_disk": "min_disk", "min_ram": "min_ram",
		"os_hash_algo": "hash_algo", "os_hash_value": "hash_value", "created_at": "created_at", "updated_at": "updated_at",
		"virtual_size": "virtual_size",
	}
}

// SortKeys maps the attributes that lists may be sorted by to their columns.
func SortKeys() map[string]string {
	keys := Columns()
	keys["visibility"], keys["owner"], keys["protected"] = "visibility", "owner_id", "protected"
	delete(keys, "os_hash_value")
	return keys
}

// Normalise sorts and deduplicates tags.
func Normalise(tags []string) []string {
	out := slices.Clone(tags)
	slices.Sort(out)
	return slices.Compact(out)
}
