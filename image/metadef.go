package image

import "time"

// Namespace groups metadata definitions: a catalogue of properties that images,
// flavors or volumes may have, for user interfaces.
type Namespace struct {
	ID          string     `db:"id"`
	Name        string     `db:"namespace"`
	DisplayName *string    `db:"display_name"`
	Description *string    `db:"description"`
	Visibility  Visibility `db:"visibility"` // Public or Private
	Protected   bool       `db:"protected"`
	Owner       string     `db:"owner_id"`
	CreatedAt   time.Time  `db:"created_at"`
	UpdatedAt   time.Time  `db:"updated_at"`
}

// Sees reports whether the viewer may know of the namespace.
func (n *Namespace) Sees(v Viewer) bool {
	return v.Admin || n.Visibility == Public || v.Project != "" && v.Project == n.Owner
}

// Kind is a kind of definition.
type Kind string

// The kinds.
const (
	KindObject   Kind = "object"   // named group of properties
	KindProperty Kind = "property" // a JSON schema
	KindTag      Kind = "tag"      // a word
)

// Definition is one definition of a namespace. Document is what the API shows
// beside name and times.
type Definition struct {
	NamespaceID string    `db:"namespace_id"`
	Kind        Kind      `db:"kind"`
	Name        string    `db:"name"`
	Document    string    `db:"document"` // JSON
	CreatedAt   time.Time `db:"created_at"`
	UpdatedAt   time.Time `db:"updated_at"`
}

// Association says that a namespace's definitions are for a type of resource.
type Association struct {
	NamespaceID  string    `db:"namespace_id"`
	ResourceType string    `db:"resource_type"`
	Prefix       *string   `db:"prefix"`
	Target       *string   `db:"properties_target"`
	CreatedAt    time.Time `db:"created_at"`
	UpdatedAt    time.Time `db:"updated_at"`
}

// ResourceType is a type of resource, as Heat names them.
type ResourceType struct {
	Name      string    `db:"name"`
	CreatedAt time.Time `db:"created_at"`
	UpdatedAt time.Time `db:"updated_at"`
}

// ResourceTypes are the types that are always known.
func ResourceTypes() []string {
	return []string{
		"OS::Cinder::Volume", "OS::Glance::Image", "OS::Neutron::Net", "OS::Nova::Aggregate", "OS::Nova::Flavor",
		"OS::Nova::Server", "OS::Trove::Instance",
	}
}

// NamespaceContent is all that a namespace holds.
type NamespaceContent struct {
	Namespace
	Definitions  []Definition
	Associations []Association
}
