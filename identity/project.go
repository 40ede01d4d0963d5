package identity

// DefaultDomainID is the id of the domain that bootstrap makes.
const DefaultDomainID = "default"

// Project is a project, or a domain, which is a project at the top that
// contains others and has IsDomain set. DomainID and ParentID of a domain are
// empty; ParentID of a project at the top of its domain is the domain's id.
type Project struct {
	ID          string `db:"id" json:"id"`
	Name        string `db:"name" json:"name"`
	Description string `db:"description" json:"description"`
	DomainID    string `db:"domain_id" json:"domain_id"`
	ParentID    string `db:"parent_id" json:"parent_id"`
	IsDomain    bool   `db:"is_domain" json:"is_domain"`
	Enabled     bool   `db:"enabled" json:"enabled"`
	Options     Extra  `db:"options" json:"options"`
	Extra       Extra  `db:"extra" json:"-"`
	// Tags are rows of their own; a manager fills them in.
	Tags []string `db:"-" json:"tags"`
}

// Immutable reports whether the resource option forbids changes and deletion.
func Immutable(options Extra) bool {
	v, _ := options["immutable"].(bool)
	return v
}

// OwnerDomain is the domain that a project belongs to: of a domain, itself.
func (p *Project) OwnerDomain() string {
	if p.IsDomain {
		return p.ID
	}
	return p.DomainID
}
