// Package ovn is the network dataplane on OVN: it writes the northbound
// database (ovn-nb(5)), ovn-northd and ovn-controller do the rest.
//
// Each object of package driver is rendered into rows of the northbound
// tables. Every row carries in external_ids its own key (tropo:key) and the
// object that owns it (tropo:owner). Applying an object means: compare the
// wanted rows with the cached rows of that owner and write the difference as
// one transaction. Sync is the same over all objects, followed by the owners
// that nobody wants. Rows without the marks are never touched.
package ovn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// Options configure a Driver.
type Options struct {
	// Remotes are where the northbound database is now: "unix:PATH",
	// "tcp:HOST:PORT", "ssl:HOST:PORT". The one that leads is used.
	Remotes func() []string
	// TLS makes the configuration of "ssl" connections.
	TLS func() (*tls.Config, error)
	// Southbound are where the southbound database is now; nil: hosts that
	// are removed stay in it.
	Southbound func() []string
	// Dial makes the connections; nil: a net.Dialer does.
	Dial ovsdb.DialFunc
	// GatewayChassis are the chassis that hold router gateways which name
	// no hosts of their own, best first.
	GatewayChassis []string
	// Capabilities of the chassis.
	Capabilities driver.Capabilities
	// Timeout bounds the wait for the database in one call; 0: 20 s.
	Timeout time.Duration
}

// Driver drives an OVN northbound database.
type Driver struct {
	opts   Options
	client *ovsdb.Client
	south  *ovsdb.Client // nil without Options.Southbound
	status *status

	mu sync.Mutex // one writer at a time: each starts from the other's result
}

var _ driver.Driver = (*Driver)(nil)

// probe is how often the databases are asked for a sign of life: one on a
// machine that was cut off is left after three of them, while requests wait.
const probe = 2 * time.Second

// Open connects to the northbound database in the background.
func Open(opts Options) (*Driver, error) {
	if opts.Timeout == 0 {
		opts.Timeout = 20 * time.Second
	}
	d := &Driver{opts: opts, status: newStatus()}
	tables := map[string][]string{}
	for _, t := range managedTables() {
		tables[t] = nil
	}
	client, err := ovsdb.Open(ovsdb.Options{
		Find: opts.Remotes, TLS: opts.TLS, Dial: opts.Dial, Database: "OVN_Northbound", Tables: tables, Indexes: indexes(), OnChange: d.status.changed, Probe: probe,
	})
	if err != nil {
		return nil, fmt.Errorf("northbound database: %w", err)
	}
	d.client = client
	if opts.Southbound == nil {
		return d, nil
	}
	d.south, err = ovsdb.Open(ovsdb.Options{
		Find: opts.Southbound, TLS: opts.TLS, Dial: opts.Dial, Database: "OVN_Southbound",
		Tables: map[string][]string{tableChassis: {"name"}, tableChassisPrivate: {"name"}}, Probe: probe,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("southbound database: %w", err), client.Close())
	}
	return d, nil
}

// Capabilities implements driver.Driver.
func (d *Driver) Capabilities() driver.Capabilities { return d.opts.Capabilities }

// Close implements driver.Driver.
func (d *Driver) Close() error {
	var err error
	if d.south != nil {
		err = d.south.Close()
	}
	return errors.Join(err, d.client.Close())
}

// RemoveHost implements driver.Driver.
func (d *Driver) RemoveHost(ctx context.Context, host string) error {
	if d.south == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	named := []ovsdb.Condition{{Column: "name", Function: "==", Value: host}}
	_, err := d.south.Transact(ctx, ovsdb.Delete(tableChassis, named), ovsdb.Delete(tableChassisPrivate, named))
	return unavailable(err)
}

// EnsureNetwork implements driver.Driver.
func (d *Driver) EnsureNetwork(ctx context.Context, n driver.Network) error {
	return d.ensure(ctx, driver.ObjectNetwork, n.ID, renderNetwork(n))
}

// EnsureSubnet implements driver.Driver.
func (d *Driver) EnsureSubnet(ctx context.Context, s driver.Subnet) error {
	return d.ensure(ctx, driver.ObjectSubnet, s.ID, renderSubnet(s))
}

// EnsurePort implements driver.Driver.
func (d *Driver) EnsurePort(ctx context.Context, p driver.Port) error {
	if err := d.ensureBase(ctx); err != nil {
		return err
	}
	return d.ensure(ctx, driver.ObjectPort, p.ID, renderPort(p))
}

// EnsureSecurityGroup implements driver.Driver.
func (d *Driver) EnsureSecurityGroup(ctx context.Context, g driver.SecurityGroup) error {
	return d.ensure(ctx, driver.ObjectSecurityGroup, g.ID, renderSecurityGroup(g))
}

// EnsureAddressGroup implements driver.Driver.
func (d *Driver) EnsureAddressGroup(ctx context.Context, g driver.AddressGroup) error {
	return d.ensure(ctx, driver.ObjectAddressGroup, g.ID, renderAddressGroup(g))
}

// EnsureRouter implements driver.Driver.
func (d *Driver) EnsureRouter(ctx context.Context, r driver.Router) error {
	return d.ensure(ctx, driver.ObjectRouter, r.ID, renderRouter(r, d.opts.GatewayChassis))
}

// EnsureFloatingIP implements driver.Driver.
func (d *Driver) EnsureFloatingIP(ctx context.Context, f driver.FloatingIP) error {
	return d.ensure(ctx, driver.ObjectFloatingIP, f.ID, renderFloatingIP(f))
}

// DeleteNetwork implements driver.Driver; the network's ports go with it.
func (d *Driver) DeleteNetwork(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectNetwork, id)
}

// DeleteSubnet implements driver.Driver.
func (d *Driver) DeleteSubnet(ctx context.Context, id string) error {
	return d.ensure(ctx, driver.ObjectSubnet, id, renderNoSubnet(id))
}

// DeletePort implements driver.Driver.
func (d *Driver) DeletePort(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectPort, id)
}

// DeleteSecurityGroup implements driver.Driver.
func (d *Driver) DeleteSecurityGroup(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectSecurityGroup, id)
}

// DeleteAddressGroup implements driver.Driver.
func (d *Driver) DeleteAddressGroup(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectAddressGroup, id)
}

// DeleteRouter implements driver.Driver; its floating IPs go with it.
func (d *Driver) DeleteRouter(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectRouter, id)
}

// DeleteFloatingIP implements driver.Driver.
func (d *Driver) DeleteFloatingIP(ctx context.Context, id string) error {
	return d.remove(ctx, driver.ObjectFloatingIP, id)
}

func (d *Driver) ensure(ctx context.Context, kind driver.ObjectKind, id string, r render) error {
	if !driver.ValidID(id) {
		return fault.Invalidf("Invalid %s id %q.", kind, id)
	}
	_, err := d.apply(ctx, driver.Object{Kind: kind, ID: id}, r)
	return err
}

func (d *Driver) remove(ctx context.Context, kind driver.ObjectKind, id string) error {
	return d.ensure(ctx, kind, id, nothing)
}

// ensureBase makes the rows that all ports share, if they are missing.
func (d *Driver) ensureBase(ctx context.Context) error {
	there := false
	err := d.view(ctx, func(v ovsdb.View) error {
		there = len(v.Find(tablePortGroup, indexKey, keyDrop)) > 0
		return nil
	})
	if err != nil || there {
		return err
	}
	_, err = d.apply(ctx, base, renderBase)
	return err
}

// view reads the cache; a database out of reach is a fault.Unavailable.
func (d *Driver) view(ctx context.Context, f func(ovsdb.View) error) error {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	return unavailable(d.client.View(ctx, f))
}

// unavailable makes a fault of an error of the database client.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := fault.As(err); ok {
		return err
	}
	var refused *ovsdb.Error
	if errors.As(err, &refused) {
		return fault.Wrap(fault.Internal, err, "The network dataplane refused a change.")
	}
	return fault.Wrap(fault.Unavailable, err, "The network dataplane does not answer.")
}

// joinInvalid makes one fault of the parts of an object that were left out.
func joinInvalid(what string, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return fault.Invalidf("%s: %s.", what, strings.Join(problems, "; "))
}
