package daemons

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

// ensureBridges makes the integration bridge before ovn-controller would, as
// that does not know the datapath type, and the provider bridges.
func (d *Daemons) ensureBridges(ctx context.Context) error {
	if err := d.chooseDatapath(ctx); err != nil {
		return err
	}
	args := []string{
		"--may-exist", "add-br", integrationBridge, "--", "set", "bridge", integrationBridge,
		"datapath_type=" + d.datapath, "fail_mode=secure", "other_config:disable-in-band=true",
	}
	bridges := slices.Compact(slices.Sorted(maps.Values(d.conf.PhysicalNetworks)))
	for _, b := range bridges {
		args = append(args, "--", "--may-exist", "add-br", b, "--", "set", "bridge", b, "datapath_type="+d.datapath, "fail_mode=standalone")
	}
	_, err := d.Vsctl(ctx, args...)
	return err
}

// chooseDatapath keeps the type that the bridge has, else finds one by trying.
func (d *Daemons) chooseDatapath(ctx context.Context) error {
	if d.datapath != "" {
		return nil
	}
	has, err := d.Vsctl(ctx, "--if-exists", "get", "bridge", integrationBridge, "datapath_type")
	if err != nil {
		return err
	}
	switch {
	case has == "system" || has == "netdev":
		d.datapath = has
	case d.conf.Datapath != "":
		d.datapath = d.conf.Datapath
	default:
		d.datapath = d.probeDatapath(ctx)
	}
	return nil
}

// probeDatapath tries to make a kernel datapath in the cloud's namespace.
func (d *Daemons) probeDatapath(ctx context.Context) string {
	const name = "system@tropo-probe"
	dpctl := func(args ...string) error {
		_, err := host.Run(ctx, host.Command{Path: "ovs-dpctl", Args: args, Env: d.env(), Netns: d.Netns(), Timeout: commandTimeout})
		return err
	}
	if dpctl("add-dp", name) != nil || dpctl("del-dp", name) != nil {
		return "netdev"
	}
	return "system"
}

// ensureProviderLink joins the provider bridge to the outside: by the link that
// it may take, or to the host, so that the host reaches external networks and
// floating IPs.
func (d *Daemons) ensureProviderLink(ctx context.Context) error {
	bridges := slices.Collect(maps.Values(d.conf.PhysicalNetworks))
	if !slices.Contains(bridges, providerBridge) {
		return nil
	}
	inside := d.bridgeLink()
	if d.conf.ProviderLink != "" {
		if host.LinkExists(d.conf.HostNetns, d.HostLink()) { // it had none before
			if _, err := d.Vsctl(ctx, "--if-exists", "del-port", inside); err != nil {
				return err
			}
			if err := host.DeleteLink(d.conf.HostNetns, d.HostLink()); err != nil {
				return err
			}
		}
		inside = d.conf.ProviderLink
		if _, err := d.take(inside); err != nil {
			return err
		}
		if err := host.SetLinkUp(d.Netns(), inside); err != nil {
			return err
		}
	} else if err := d.ensureHostLink(); err != nil {
		return err
	}
	if err := IgnoreAdvertisements(d.Netns(), inside); err != nil {
		return err
	}
	if d.datapath == "netdev" {
		if err := host.DisableOffload(d.Netns(), inside); err != nil {
			return err
		}
	}
	_, err := d.Vsctl(ctx, "--may-exist", "add-port", providerBridge, inside)
	return err
}

func (d *Daemons) ensureHostLink() error {
	ns := d.conf.HostNetns
	if err := host.EnsureVeth(host.Veth{Netns: ns, Name: d.HostLink(), PeerNetns: d.Netns(), PeerName: d.bridgeLink()}); err != nil {
		return err
	}
	if err := IgnoreAdvertisements(ns, d.HostLink()); err != nil {
		return err
	}
	if d.datapath == "netdev" {
		return host.DisableOffload(ns, d.HostLink())
	}
	return nil
}

// EnsureProviderAddress gives the host an address on the provider bridge,
// with the external subnet's length: the gateway of that subnet, as a rule.
func (d *Daemons) EnsureProviderAddress(ctx context.Context, p netip.Prefix) error {
	if !p.IsValid() || p.Addr().IsLoopback() || p.Addr().IsMulticast() || p.Addr().IsUnspecified() {
		return fault.Invalidf("%s is no address for the provider network.", p)
	}
	if d.conf.ProviderLink != "" {
		return nil // the gateway is out there
	}
	d.tellOfOverlap(ctx, p)
	if err := host.EnsureAddr(d.conf.HostNetns, d.HostLink(), p); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The host could not be given the address %s.", p)
	}
	return nil
}

// tellOfOverlap warns, once for each address, of another link of the host in the
// same subnet: of another cloud, maybe. The host has one routing table, and would
// look for this cloud's floating IPs over there.
func (d *Daemons) tellOfOverlap(ctx context.Context, p netip.Prefix) {
	if _, told := d.overlaps.LoadOrStore(p, true); told {
		return
	}
	links, err := host.Overlapping(d.conf.HostNetns, d.HostLink(), p)
	if err != nil {
		d.overlaps.Delete(p) // asked again with the next call
		return
	}
	if len(links) > 0 {
		d.conf.Log.WarnContext(ctx, "another link of this host is in the subnet of an external network: floating IPs may be out of this host's reach; give each cloud on a host its own subnet",
			slog.String("address", p.String()), slog.String("links", strings.Join(links, " ")))
	}
}

// HostLinked says whether the provider bridge leads to the host and no further.
func (d *Daemons) HostLinked() bool {
	return d.conf.ProviderLink == "" && slices.Contains(slices.Collect(maps.Values(d.conf.PhysicalNetworks)), providerBridge)
}

// SetProviderAddresses gives the host exactly these addresses on the provider
// bridge.
func (d *Daemons) SetProviderAddresses(ctx context.Context, list []netip.Prefix) error {
	if !d.HostLinked() {
		return nil
	}
	link := taken{Name: d.HostLink()}
	if err := host.InNetns(d.conf.HostNetns, func() error { return describe(&link) }); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The host's addresses on the provider network are not known.")
	}
	var errs []error
	for _, p := range link.Addresses {
		if !slices.Contains(list, p) {
			errs = append(errs, d.RemoveProviderAddress(ctx, p))
		}
	}
	for _, p := range list {
		if !slices.Contains(link.Addresses, p) {
			errs = append(errs, d.EnsureProviderAddress(ctx, p))
		}
	}
	return errors.Join(errs...)
}

// RemoveProviderAddress takes such an address away.
func (d *Daemons) RemoveProviderAddress(_ context.Context, p netip.Prefix) error {
	if !host.LinkExists(d.conf.HostNetns, d.HostLink()) {
		return nil
	}
	d.overlaps.Delete(p)
	if err := host.DeleteAddr(d.conf.HostNetns, d.HostLink(), p); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The address %s could not be taken from the host.", p)
	}
	return nil
}
