package identity

// RegisteredLimit is the default of a quota.
type RegisteredLimit struct {
	ID           string `db:"id" json:"id"`
	ServiceID    string `db:"service_id" json:"service_id"`
	RegionID     Ref    `db:"region_id" json:"region_id"`
	ResourceName string `db:"resource_name" json:"resource_name"`
	DefaultLimit int64  `db:"default_limit" json:"default_limit"`
	Description  Ref    `db:"description" json:"description"`
	// RegionKey is the region or "", for uniqueness.
	RegionKey string `db:"region_key" json:"-"`
}

// Limit overrides a registered limit for one project or domain.
type Limit struct {
	ID            string `db:"id" json:"id"`
	RegisteredID  string `db:"registered_limit_id" json:"-"`
	ServiceID     string `db:"service_id" json:"service_id"`
	RegionID      Ref    `db:"region_id" json:"region_id"`
	ResourceName  string `db:"resource_name" json:"resource_name"`
	ResourceLimit int64  `db:"resource_limit" json:"resource_limit"`
	Description   Ref    `db:"description" json:"description"`
	ProjectID     Ref    `db:"project_id" json:"project_id"`
	DomainID      Ref    `db:"domain_id" json:"domain_id"`
	// OwnerID is the project or the domain, for uniqueness.
	OwnerID string `db:"owner_id" json:"-"`
}
