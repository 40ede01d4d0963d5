package ovn

import (
	"encoding/hex"
	"strings"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// The northbound tables that the driver writes.
const (
	tableSwitch         = "Logical_Switch"
	tableSwitchPort     = "Logical_Switch_Port"
	tableDHCP           = "DHCP_Options"
	tablePortGroup      = "Port_Group"
	tableACL            = "ACL"
	tableAddressSet     = "Address_Set"
	tableRouter         = "Logical_Router"
	tableRouterPort     = "Logical_Router_Port"
	tableRoute          = "Logical_Router_Static_Route"
	tableNAT            = "NAT"
	tableGatewayChassis = "Gateway_Chassis"
)

// managedTables lists them with the children first: deletions go that way.
func managedTables() []string {
	return []string{
		tableGatewayChassis, tableNAT, tableRoute, tableRouterPort, tableRouter,
		tableACL, tablePortGroup, tableAddressSet, tableSwitchPort, tableDHCP, tableSwitch,
	}
}

// Marks in external_ids.
const (
	markKey     = "tropo:key"     // the row's name, unique in its table
	markOwner   = "tropo:owner"   // the object it belongs to: "kind/id"
	markParent  = "tropo:parent"  // table and key of the row that holds it
	markGroups  = "tropo:groups"  // keys of a port's port groups, by comma
	markSubnet4 = "tropo:subnet4" // subnets whose DHCP answers a port gets
	markSubnet6 = "tropo:subnet6"
	markDHCP4   = "tropo:dhcp4" // a port's extra DHCP options, as JSON
	markDHCP6   = "tropo:dhcp6"

	// Of ports, for the metadata service: northd copies them to the
	// southbound database, where each chassis reads them.
	markDevice      = "tropo:device_id"
	markDeviceOwner = "tropo:device_owner"
	markProject     = "tropo:project_id"
	markPrefixes    = "tropo:prefixes" // of a metadata port, by space
	markMTU         = "tropo:mtu"
)

// Names of the cache's indexes.
const (
	indexKey    = "key"
	indexOwner  = "owner"
	indexGroup  = "group"
	indexSubnet = "subnet"
)

func indexes() map[string]map[string]ovsdb.IndexFunc {
	byMark := func(mark string) ovsdb.IndexFunc {
		return func(r ovsdb.Row) []string {
			if v := r.Get("external_ids", mark); v != "" {
				return []string{v}
			}
			return nil
		}
	}
	out := map[string]map[string]ovsdb.IndexFunc{}
	for _, t := range managedTables() {
		out[t] = map[string]ovsdb.IndexFunc{indexKey: byMark(markKey), indexOwner: byMark(markOwner)}
	}
	out[tableSwitchPort][indexGroup] = func(r ovsdb.Row) []string { return splitGroups(r) }
	out[tableSwitchPort][indexSubnet] = func(r ovsdb.Row) []string {
		var ids []string
		for _, mark := range []string{markSubnet4, markSubnet6} {
			if v := r.Get("external_ids", mark); v != "" {
				ids = append(ids, v)
			}
		}
		return ids
	}
	return out
}

func splitGroups(r ovsdb.Row) []string {
	if s := r.Get("external_ids", markGroups); s != "" {
		return strings.Split(s, ",")
	}
	return nil
}

// ref names a row by table and key.
type ref struct{ table, key string }

func (r ref) String() string { return r.table + " " + r.key }

func parseRef(s string) ref {
	table, key, _ := strings.Cut(s, " ")
	return ref{table, key}
}

// row is one wanted row.
type row struct {
	ref
	owner   string            // "kind/id"
	columns ovsdb.Row         // values in Go's form; columns not named are left alone
	links   map[string][]ref  // columns that refer to other rows; missing ones are left out
	marks   map[string]string // further external_ids
	parent  ref               // the row whose column holds this one; zero: a root row
	column  string
	groups  []string // keys of the port groups that a switch port is in
	// partial rows only set their columns and links on a row that is
	// there; marks and parent are not theirs.
	partial bool
}

// plan is the wanted state of one owner.
type plan struct {
	rows   []row
	remove []ref // rows of other owners that go with it
}

// render makes a plan from the cache. The error names parts that were left
// out of the plan, or, when the plan is nil, why there is none.
type render func(ovsdb.View) (*plan, error)

// nothing is the plan of an object that shall not be.
func nothing(ovsdb.View) (*plan, error) { return &plan{}, nil }

// base owns the rows that all ports share.
var base = driver.Object{Kind: "base", ID: "base"}

// find returns the cached row of r, nil if there is none.
func find(v ovsdb.View, r ref) ovsdb.Row {
	rows := v.Find(r.table, indexKey, r.key)
	if len(rows) == 0 {
		return nil
	}
	return rows[0]
}

// identifier makes an id usable in the names of port groups and address sets,
// which are parts of expressions: letters, digits and underscores.
func identifier(id string) string {
	if strings.Trim(id, "0123456789abcdef-") != "" { // no UUID: hexadecimal keeps the names apart
		return "x" + hex.EncodeToString([]byte(id))
	}
	return strings.ReplaceAll(id, "-", "_")
}
