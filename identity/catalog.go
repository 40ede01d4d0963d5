package identity

// Region is a part of a cloud; regions nest.
type Region struct {
	ID             string `db:"id" json:"id"`
	Description    string `db:"description" json:"description"`
	ParentRegionID Ref    `db:"parent_region_id" json:"parent_region_id"`
	Extra          Extra  `db:"extra" json:"-"`
}

// Service is an entry of the catalog.
type Service struct {
	ID      string `db:"id" json:"id"`
	Type    string `db:"service_type" json:"type"`
	Name    string `db:"name" json:"name"`
	Enabled bool   `db:"enabled" json:"enabled"`
	Extra   Extra  `db:"extra" json:"-"` // the description among them
}

// Endpoint is an address of a service.
type Endpoint struct {
	ID        string `db:"id" json:"id"`
	ServiceID string `db:"service_id" json:"service_id"`
	RegionID  Ref    `db:"region_id" json:"region_id"`
	Interface string `db:"interface" json:"interface"` // public, internal, admin
	URL       string `db:"url" json:"url"`             // may hold $(project_id)s and the like
	Enabled   bool   `db:"enabled" json:"enabled"`
	Extra     Extra  `db:"extra" json:"-"`
}

// EndpointGroup shows the endpoints that match its filters to the projects
// that it is associated with (OS-EP-FILTER).
type EndpointGroup struct {
	ID          string `db:"id" json:"id"`
	Name        string `db:"name" json:"name"`
	Description string `db:"description" json:"description"`
	Filters     Extra  `db:"filters" json:"filters"` // service_id, region_id, interface, enabled
}

// Matches reports whether an endpoint passes all filters of the group.
func (g *EndpointGroup) Matches(e *Endpoint) bool {
	for k, v := range g.Filters {
		ok := false
		switch k {
		case "service_id":
			ok = v == e.ServiceID
		case "region_id":
			ok = v == string(e.RegionID)
		case "interface":
			ok = v == e.Interface
		case "enabled":
			ok = v == e.Enabled
		}
		if !ok {
			return false
		}
	}
	return true
}

// Policy is a blob that some service reads (an old feature of the API).
type Policy struct {
	ID    string `db:"id" json:"id"`
	Type  string `db:"policy_type" json:"type"`
	Blob  Doc    `db:"policy_blob" json:"blob"`
	Extra Extra  `db:"extra" json:"-"`
}

// PolicyAssociation ties a policy to an endpoint, or to a service, or to a
// service in a region (OS-ENDPOINT-POLICY). Empty is none.
type PolicyAssociation struct {
	PolicyID   string `db:"policy_id"`
	EndpointID string `db:"endpoint_id"`
	ServiceID  string `db:"service_id"`
	RegionID   string `db:"region_id"`
}
