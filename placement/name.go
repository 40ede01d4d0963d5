package placement

import (
	_ "embed" // the standard names
	"regexp"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// CustomPrefix begins the names of traits and resource classes that are not
// standard.
const CustomPrefix = "CUSTOM_"

//go:embed data/traits.txt
var standardTraits string

//go:embed data/resource_classes.txt
var standardClasses string

// StandardTraits returns the names of the library os-traits, sorted.
func StandardTraits() []string { return strings.Fields(standardTraits) }

// StandardResourceClasses returns the names of the library
// os-resource-classes, in its order.
func StandardResourceClasses() []string { return strings.Fields(standardClasses) }

// Trait is a quality that a provider has or has not.
type Trait struct {
	Name      string    `db:"name"`
	UpdatedAt time.Time `db:"updated_at"`
}

// ResourceClass names a kind of inventory.
type ResourceClass struct {
	Name      string    `db:"name"`
	Position  int       `db:"position"` // of a standard class in the library, after them the others
	UpdatedAt time.Time `db:"updated_at"`
}

var (
	namePattern   = regexp.MustCompile(`^[A-Z0-9_]{1,255}$`)
	customPattern = regexp.MustCompile(`^CUSTOM_[A-Z0-9_]{1,248}$`)
)

// ValidName reports whether s can be the name of a trait, a resource class or
// a consumer type.
func ValidName(s string) bool { return namePattern.MatchString(s) }

// IsCustom reports whether s can be the name of a custom trait or class.
func IsCustom(s string) bool { return customPattern.MatchString(s) }

// CheckCustom returns a fault unless the name of a new trait or resource class
// (what) is custom.
func CheckCustom(what, name string) error {
	if !IsCustom(name) {
		return fault.Invalidf("The %s %q is invalid: a custom name must start with CUSTOM_ and use the following characters: \"A-Z\", \"0-9\" and \"_\".", what, name)
	}
	return nil
}

// TraitFilter narrows a list of traits.
type TraitFilter struct {
	Prefix     string
	Names      []string // nil: any
	Associated *bool    // whether some provider has it
}
