package compute

// The resources that quotas limit.
const (
	QuotaInstances    = "instances"
	QuotaCores        = "cores"
	QuotaRAM          = "ram" // MiB
	QuotaKeyPairs     = "key_pairs"
	QuotaMetadata     = "metadata_items"
	QuotaFiles        = "injected_files"
	QuotaFileBytes    = "injected_file_content_bytes"
	QuotaFilePath     = "injected_file_path_bytes"
	QuotaGroups       = "server_groups"
	QuotaGroupMembers = "server_group_members"
	// Unlimited is a limit that never refuses.
	Unlimited = -1
)

// QuotaResources are all of them, in the order of the API.
var QuotaResources = [...]string{
	QuotaInstances, QuotaCores, QuotaRAM, QuotaMetadata, QuotaFiles, QuotaFileBytes, QuotaFilePath,
	QuotaKeyPairs, QuotaGroups, QuotaGroupMembers,
}

// Limits are the limits of a project or user by resource.
type Limits map[string]int

// Usage is what is used by resource.
type Usage map[string]int

// Refused returns the first resource of which want does not fit into what is
// left of limits, or "".
func (l Limits) Refused(used, want Usage) string {
	for _, r := range QuotaResources {
		n, asked := want[r]
		if !asked || n <= 0 {
			continue
		}
		if limit := l[r]; limit != Unlimited && used[r]+n > limit {
			return r
		}
	}
	return ""
}
