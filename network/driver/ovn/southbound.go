package ovn

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
)

// The southbound tables that are read.
const (
	tableChassis        = "Chassis"
	tableChassisPrivate = "Chassis_Private"
	tableBinding        = "Port_Binding"
	tableDatapath       = "Datapath_Binding"
)

// Names of the indexes of Port_Binding: by the uuid of the chassis, and by
// the datapath's with an address, a hardware address or the type.
const (
	indexChassis = "chassis"
	indexAddress = "address"
	indexType    = "type"
	indexName    = "name"
)

// SouthboundOptions configure a Southbound.
type SouthboundOptions struct {
	// Remotes are where the southbound database is now.
	Remotes func() []string
	TLS     func() (*tls.Config, error)
	Dial    ovsdb.DialFunc
	// Chassis is this host's name.
	Chassis string
	// Timeout bounds the wait for the database in one call; 0: 5 s.
	Timeout time.Duration
}

// Southbound reads in the southbound database which guests are on this host:
// all that the metadata service must know. It writes nothing.
type Southbound struct {
	o      SouthboundOptions
	client *ovsdb.Client

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at each change that matters
}

// OpenSouthbound connects in the background.
func OpenSouthbound(o SouthboundOptions) (*Southbound, error) {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	s := &Southbound{o: o, changed: make(chan struct{})}
	var err error
	s.client, err = ovsdb.Open(ovsdb.Options{
		Find: o.Remotes, TLS: o.TLS, Dial: o.Dial, Database: "OVN_Southbound", Follower: true, OnChange: s.hear, Probe: probe,
		Tables: map[string][]string{
			tableChassis: {"name"}, tableDatapath: {"external_ids"},
			tableBinding: {"logical_port", "type", "datapath", "chassis", "requested_chassis", "mac", "external_ids"},
		},
		Indexes: map[string]map[string]ovsdb.IndexFunc{
			tableChassis:  {indexName: func(r ovsdb.Row) []string { return []string{r.String("name")} }},
			tableDatapath: {indexName: func(r ovsdb.Row) []string { return []string{r.Get("external_ids", "name")} }},
			tableBinding: {
				indexChassis: places,
				indexAddress: func(r ovsdb.Row) []string {
					var keys []string
					for _, a := range addressesOf(r) {
						keys = append(keys, datapathOf(r)+" "+a)
					}
					return keys
				},
				indexType: func(r ovsdb.Row) []string { return []string{datapathOf(r) + " " + r.String("type")} },
			},
		},
	})
	return s, err
}

// places are the chassis where a port is or shall be.
func places(r ovsdb.Row) []string {
	var out []string
	for _, column := range []string{"chassis", "requested_chassis"} {
		for _, u := range r.UUIDs(column) {
			if !slices.Contains(out, string(u)) {
				out = append(out, string(u))
			}
		}
	}
	return out
}

func datapathOf(r ovsdb.Row) string {
	u, _ := r["datapath"].(ovsdb.UUID)
	return string(u)
}

// addressesOf are the words of a port's addresses: hardware ones too.
func addressesOf(r ovsdb.Row) []string {
	var out []string
	for _, line := range r.Strings("mac") {
		out = append(out, strings.Fields(line)...)
	}
	return out
}

// hear wakes who waits for a change, if it may concern a host's guests.
func (s *Southbound) hear(changes []ovsdb.Change) {
	matters := slices.ContainsFunc(changes, func(c ovsdb.Change) bool {
		for _, r := range []ovsdb.Row{c.Old, c.New} {
			if c.Table == tableChassis || c.Table == tableBinding && r != nil && (r.String("type") == "localport" || len(places(r)) > 0) {
				return true
			}
		}
		return false
	})
	if !matters {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed is closed when what MetadataPorts returns may have changed since.
func (s *Southbound) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Close ends the connection.
func (s *Southbound) Close() error { return s.client.Close() }

func (s *Southbound) view(ctx context.Context, f func(ovsdb.View) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	return unavailable(s.client.View(ctx, f))
}

// MetadataPorts returns the metadata ports of the networks that have guests on
// this host, or are about to, by network.
func (s *Southbound) MetadataPorts(ctx context.Context) ([]MetadataPort, error) {
	var out []MetadataPort
	err := s.view(ctx, func(v ovsdb.View) error {
		out = nil
		seen := map[string]bool{}
		for _, guest := range s.guests(v) {
			datapath := datapathOf(guest)
			if seen[datapath] || guest.String("type") != "" {
				continue
			}
			seen[datapath] = true
			for _, r := range v.Find(tableBinding, indexType, datapath+" localport") {
				if p, ok := metadataPort(v, r); ok {
					out = append(out, p)
					break
				}
			}
		}
		return nil
	})
	slices.SortFunc(out, func(a, b MetadataPort) int { return strings.Compare(a.NetworkID, b.NetworkID) })
	return out, err
}

// guests are the ports of this chassis.
func (s *Southbound) guests(v ovsdb.View) []ovsdb.Row {
	var out []ovsdb.Row
	for _, c := range v.Find(tableChassis, indexName, s.o.Chassis) {
		out = append(out, v.Find(tableBinding, indexChassis, string(c.UUID()))...)
	}
	return out
}

// networkOf is the network of a datapath: the driver's logical switches are
// named after it.
func networkOf(v ovsdb.View, datapath string) (string, bool) {
	r := v.Row(tableDatapath, ovsdb.UUID(datapath))
	if r == nil {
		return "", false
	}
	return strings.CutPrefix(r.Get("external_ids", "name"), switchPrefix)
}

func metadataPort(v ovsdb.View, r ovsdb.Row) (MetadataPort, bool) {
	network, ok := networkOf(v, datapathOf(r))
	words := addressesOf(r)
	if !ok || len(words) == 0 {
		return MetadataPort{}, false
	}
	p := MetadataPort{NetworkID: network, PortID: r.String("logical_port"), MAC: words[0]}
	p.MTU, _ = strconv.Atoi(r.Get("external_ids", markMTU)) // 0 where it is not told
	for _, text := range strings.Fields(r.Get("external_ids", markPrefixes)) {
		if prefix, err := netip.ParsePrefix(text); err == nil {
			p.Addresses = append(p.Addresses, prefix)
		}
	}
	return p, true
}

// GuestAt returns the server, and its project, whose port on this host has an
// address in a network; for the metadata service. A link-local IPv6 address is
// looked up by the hardware address that it was made from. What can't be told
// for sure is fault.NotFound.
func (s *Southbound) GuestAt(ctx context.Context, networkID string, a netip.Addr) (server, project string, err error) {
	key := a.String()
	if a.Is6() && a.IsLinkLocalUnicast() {
		key = macOf(a)
	}
	var found []ovsdb.Row
	err = s.view(ctx, func(v ovsdb.View) error {
		found = nil
		for _, c := range v.Find(tableChassis, indexName, s.o.Chassis) {
			for _, d := range v.Find(tableDatapath, indexName, switchPrefix+networkID) {
				for _, r := range v.Find(tableBinding, indexAddress, string(d.UUID())+" "+key) {
					if r.String("type") == "" && slices.Contains(places(r), string(c.UUID())) {
						found = append(found, r)
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		return "", "", err
	}
	missing := fault.New(fault.NotFound, "No server on this host has the address %s.", a)
	if len(found) != 1 {
		return "", "", missing
	}
	server, owner := found[0].Get("external_ids", markDevice), found[0].Get("external_ids", markDeviceOwner)
	if server == "" || strings.HasPrefix(owner, "network:") {
		return "", "", missing
	}
	return server, found[0].Get("external_ids", markProject), nil
}

// macOf is the hardware address of an address made by EUI-64.
func macOf(a netip.Addr) string {
	b := a.As16()
	return net.HardwareAddr{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}.String()
}
