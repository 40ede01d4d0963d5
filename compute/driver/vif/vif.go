// Package vif connects guests' interfaces to the network: a tap device on the
// host for each, as a port of the integration bridge that OVN's controller
// watches.
package vif

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

// Plugger plugs interfaces into one Open vSwitch. Its zero value works on the
// host's own namespace and ovs-vsctl's default database.
type Plugger struct {
	// OVSDB is the unix socket of the switch's database; empty: the default
	// of ovs-vsctl.
	OVSDB string
	// Netns names the network namespace that holds the switch and therefore
	// the taps; empty: the current one.
	Netns string
}

// timeout bounds each command: a switch that does not answer for so long is
// broken.
const timeout = 30 * time.Second

// kind is Unavailable where the switch's database does not answer: it restarts
// when it has died, and the same may be asked again.
func kind(err error) fault.Kind {
	var exit *host.ExitError
	if errors.As(err, &exit) && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(exit.Stderr, "database connection failed")) {
		return fault.Unavailable
	}
	return fault.Internal
}

// Plug makes the tap of v and adds it to its bridge for the port, on behalf of
// the server. What exists already is kept and brought up to date. It is
// fault.Unavailable while the switch restarts.
func (p *Plugger) Plug(ctx context.Context, serverID string, v driver.VIF) error {
	if err := v.Validate(); err != nil {
		return err
	}
	if err := p.plug(ctx, serverID, v); err != nil {
		return fault.Wrap(kind(err), err, "Port %s could not be plugged.", v.PortID)
	}
	return nil
}

func (p *Plugger) plug(ctx context.Context, serverID string, v driver.VIF) error {
	tap := v.Device()
	there, err := p.exists(ctx, tap)
	if err != nil {
		return err
	}
	if !there {
		args := []string{"tuntap", "add", "dev", tap, "mode", "tap"}
		if v.Offload() {
			args = append(args, "vnet_hdr")
		}
		if err := p.ip(ctx, args...); err != nil {
			return err
		}
	}
	up := []string{"link", "set", "dev", tap}
	if v.MTU > 0 {
		up = append(up, "mtu", strconv.Itoa(v.MTU))
	}
	if err := p.ip(ctx, append(up, "up")...); err != nil {
		return err
	}
	return p.vsctl(ctx, addPort(serverID, v)...)
}

// addPort is the ovs-vsctl command that makes the switch's port: one
// transaction, so the controller never sees a port without its ids.
func addPort(serverID string, v driver.VIF) []string {
	tap := v.Device()
	args := []string{
		"--may-exist", "add-port", v.Bridge, tap,
		"--", "set", "interface", tap,
		"external_ids:iface-id=" + quote(v.PortID),
		"external_ids:iface-status=active",
		"external_ids:attached-mac=" + quote(strings.ToLower(v.MAC)),
		"external_ids:vm-uuid=" + quote(serverID),
	}
	if v.MTU > 0 {
		args = append(args, "mtu_request="+strconv.Itoa(v.MTU))
	}
	return args
}

// Unplug removes the interface from its bridge and deletes the tap.
func (p *Plugger) Unplug(ctx context.Context, v driver.VIF) error {
	if err := v.Validate(); err != nil {
		return err
	}
	if err := p.remove(ctx, v.Device()); err != nil {
		return fault.Wrap(kind(err), err, "Port %s could not be unplugged.", v.PortID)
	}
	return nil
}

// UnplugServer removes every interface that was plugged for the server, also
// those that no definition names any more.
func (p *Plugger) UnplugServer(ctx context.Context, serverID string) error {
	taps, err := p.Plugged(ctx, serverID)
	if err != nil {
		return fault.Wrap(kind(err), err, "The ports of server %s could not be found.", serverID)
	}
	for _, tap := range taps {
		if err := p.remove(ctx, tap); err != nil {
			return fault.Wrap(kind(err), err, "The ports of server %s could not be unplugged.", serverID)
		}
	}
	return nil
}

// Plugged returns the taps that the switch holds for the server.
func (p *Plugger) Plugged(ctx context.Context, serverID string) ([]string, error) {
	if !driver.ValidID(serverID) {
		return nil, fault.Invalidf("The server id is not a UUID.")
	}
	out, err := p.run(ctx, "ovs-vsctl", p.database("--bare", "--columns=name", "find", "interface",
		"external_ids:vm-uuid="+quote(serverID))...)
	if err != nil {
		return nil, err
	}
	var taps []string
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "tap") { // never another interface of the host
			taps = append(taps, name)
		}
	}
	return taps, nil
}

func (p *Plugger) remove(ctx context.Context, tap string) error {
	if err := p.vsctl(ctx, "--if-exists", "del-port", tap); err != nil {
		return err
	}
	there, err := p.exists(ctx, tap)
	if err != nil || !there {
		return err
	}
	if err := p.ip(ctx, "link", "delete", "dev", tap); err != nil {
		if there, again := p.exists(ctx, tap); again == nil && !there {
			return nil // the switch or another call was faster
		}
		return err
	}
	return nil
}

// Counters are a tap's counters, as the host sees them: what the host receives
// the guest has sent.
type Counters struct {
	RxBytes, RxPackets, RxErrors, RxDropped int64
	TxBytes, TxPackets, TxErrors, TxDropped int64
}

// Counters reads the counters of v's tap.
func (p *Plugger) Counters(ctx context.Context, v driver.VIF) (Counters, error) {
	out, err := p.run(ctx, "ip", "-j", "-s", "link", "show", "dev", v.Device())
	if err != nil {
		return Counters{}, err
	}
	type direction struct {
		Bytes   int64 `json:"bytes"`
		Packets int64 `json:"packets"`
		Errors  int64 `json:"errors"`
		Dropped int64 `json:"dropped"`
	}
	var links []struct {
		Stats struct {
			Rx direction `json:"rx"`
			Tx direction `json:"tx"`
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &links); err != nil {
		return Counters{}, fmt.Errorf("ip link: %w", err)
	}
	if len(links) != 1 {
		return Counters{}, fmt.Errorf("ip link: %d devices", len(links))
	}
	rx, tx := links[0].Stats.Rx, links[0].Stats.Tx
	return Counters{
		RxBytes: rx.Bytes, RxPackets: rx.Packets, RxErrors: rx.Errors, RxDropped: rx.Dropped,
		TxBytes: tx.Bytes, TxPackets: tx.Packets, TxErrors: tx.Errors, TxDropped: tx.Dropped,
	}, nil
}

// exists tells a missing device from a failing command.
func (p *Plugger) exists(ctx context.Context, dev string) (bool, error) {
	_, err := p.run(ctx, "ip", "link", "show", "dev", dev)
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code == 1 && strings.Contains(exit.Stderr, "does not exist") {
		return false, nil
	}
	return err == nil, err
}

func (p *Plugger) ip(ctx context.Context, args ...string) error {
	_, err := p.run(ctx, "ip", args...)
	return err
}

func (p *Plugger) vsctl(ctx context.Context, args ...string) error {
	_, err := p.run(ctx, "ovs-vsctl", p.database(args...)...)
	return err
}

func (p *Plugger) database(args ...string) []string {
	head := []string{fmt.Sprintf("--timeout=%d", int(timeout.Seconds()))}
	if p.OVSDB != "" {
		head = append(head, "--db=unix:"+p.OVSDB)
	}
	return append(head, args...)
}

func (p *Plugger) run(ctx context.Context, path string, args ...string) ([]byte, error) {
	return host.Run(ctx, host.Command{Path: path, Args: args, Netns: p.Netns, Timeout: timeout})
}

// quote writes s as an OVSDB string, so that a MAC's colons or an id's digits
// are no syntax.
func quote(s string) string { return strconv.Quote(s) }
