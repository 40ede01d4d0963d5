package daemons

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/tropocloud/tropo/host"
)

// taken is a link that the switch took from the host, with what it had there.
type taken struct {
	Name      string         `json:"name"`
	Addresses []netip.Prefix `json:"addresses,omitempty"`
	Routes    []takenRoute   `json:"routes,omitempty"`
}

// takenRoute is a route over the link by a gateway.
type takenRoute struct {
	To  netip.Prefix `json:"to"`
	Via netip.Addr   `json:"via"`
}

// linksFile lists the links that were taken: it is written before the first is
// moved, so that each can be given back whatever happens in between.
func (d *Daemons) linksFile() string { return d.db("links.json") }

func (d *Daemons) takenLinks() (map[string]taken, error) {
	out := map[string]taken{}
	b, err := os.ReadFile(d.linksFile())
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.linksFile(), err)
	}
	return out, nil
}

func (d *Daemons) noteTaken(links map[string]taken) error {
	if len(links) == 0 {
		return removeAll(d.linksFile())
	}
	b, err := json.MarshalIndent(links, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(d.linksFile(), append(b, '\n'), 0o600)
}

// take moves a link of the host into the switch's namespace and returns what
// it had there. A link that is there already is left alone.
func (d *Daemons) take(name string) (taken, error) {
	links, err := d.takenLinks()
	if err != nil {
		return taken{}, err
	}
	if host.LinkExists(d.Netns(), name) && !host.LinkExists(d.conf.HostNetns, name) {
		return links[name], nil
	}
	if !host.LinkExists(d.conf.HostNetns, name) {
		return taken{}, fmt.Errorf("there is no link %s on this host", name)
	}
	t := taken{Name: name}
	if err := host.InNetns(d.conf.HostNetns, func() error { return describe(&t) }); err != nil {
		return taken{}, fmt.Errorf("look at %s: %w", name, err)
	}
	if len(t.Addresses) == 0 {
		// Given back by a crash between two steps, or by a reboot without
		// its addresses: what is noted holds.
		t = merge(t, links[name])
	}
	links[name] = t
	if err := d.noteTaken(links); err != nil {
		return taken{}, err
	}
	return t, moveLink(d.conf.HostNetns, d.Netns(), name)
}

func merge(t, old taken) taken {
	if old.Name == "" {
		return t
	}
	return old
}

// describe fills in a link's global addresses and its routes by gateways.
func describe(t *taken) error {
	l, err := netlink.LinkByName(t.Name)
	if err != nil {
		return err
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.IPNet.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			t.Addresses = append(t.Addresses, p)
		}
	}
	routes, err := netlink.RouteList(l, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, r := range routes {
		via, ok := netip.AddrFromSlice(r.Gw)
		if !ok || via.Unmap().IsLinkLocalUnicast() {
			continue
		}
		via = via.Unmap()
		to := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if via.Is4() {
			to = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		if r.Dst != nil {
			if to, err = netip.ParsePrefix(r.Dst.String()); err != nil {
				continue
			}
		}
		t.Routes = append(t.Routes, takenRoute{to, via})
	}
	return nil
}

// moveLink moves a link between namespaces.
func moveLink(from, to, name string) error {
	var target netns.NsHandle
	var err error
	if to == "" {
		target, err = netns.GetFromPid(os.Getpid())
	} else {
		target, err = netns.GetFromName(to)
	}
	if err != nil {
		return fmt.Errorf("namespace %q: %w", to, err)
	}
	defer target.Close()
	err = host.InNetns(from, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetNsFd(l, int(target))
	})
	if err != nil {
		return fmt.Errorf("move link %s: %w", name, err)
	}
	return nil
}

// configure gives a link addresses and then routes.
func configure(ns, link string, t taken) error {
	if err := host.SetLinkUp(ns, link); err != nil {
		return err
	}
	for _, p := range t.Addresses {
		if err := host.EnsureAddr(ns, link, p); err != nil {
			return err
		}
	}
	for _, r := range t.Routes {
		if err := host.EnsureRoute(ns, link, r.To, r.Via); err != nil {
			return err
		}
	}
	return nil
}

// releaseLinks gives back what was taken from the host and is no longer wanted.
func (d *Daemons) releaseLinks(ctx context.Context) error {
	links, err := d.takenLinks()
	if err != nil {
		return err
	}
	for name, t := range links {
		if name == d.conf.ServiceLink || name == d.conf.ProviderLink {
			continue
		}
		drop := []string{"--if-exists", "del-port", name}
		if bridge, err := d.Vsctl(ctx, "port-to-br", name); err == nil && bridge == underlayBridge {
			drop = []string{"del-br", bridge} // it has the link's addresses
		}
		if _, err := d.Vsctl(ctx, drop...); err != nil {
			return err
		}
		if err := d.giveBackOne(t); err != nil {
			return err
		}
		delete(links, name)
		if err := d.noteTaken(links); err != nil {
			return err
		}
	}
	return nil
}

// giveBackOne moves a link to the host and configures it as it was there.
func (d *Daemons) giveBackOne(t taken) error {
	if host.NetnsExists(d.Netns()) && host.LinkExists(d.Netns(), t.Name) {
		if err := moveLink(d.Netns(), d.conf.HostNetns, t.Name); err != nil {
			return err
		}
	}
	if !host.LinkExists(d.conf.HostNetns, t.Name) {
		return nil // it went with its machine
	}
	return configure(d.conf.HostNetns, t.Name, t)
}

// giveBack returns the links that were taken to the host, with their addresses
// and routes. The switch has ended by then.
func (d *Daemons) giveBack() error {
	links, err := d.takenLinks()
	if err != nil || len(links) == 0 {
		return err
	}
	var errs []error
	for _, t := range links {
		errs = append(errs, d.giveBackOne(t))
	}
	return errors.Join(errs...)
}
