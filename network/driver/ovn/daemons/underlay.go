package daemons

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

// underlayBridge carries the tunnels' packets of a switch in user space, which
// sends them through bridges of its own only.
const underlayBridge = "br-phy"

// underlayLink is the host's end of the link that tunnels leave by where the
// switch has none of its own.
func (d *Daemons) underlayLink() string { return "tu" + d.short }

func (d *Daemons) underlayPeer() string { return "tu" + d.short + "p" }

// linkNet is the network between the host and the switch's namespace: four
// addresses of 169.254.128.0/17 but the metadata service's, by the cloud's id.
// The first is the host's.
func (d *Daemons) linkNet() (outer, inner netip.Prefix) {
	n, _ := strconv.ParseUint(d.short, 16, 32) // eight hexadecimal digits
	slot := uint16(n) & 0x1fff << 2            // 13 bits of /30 networks
	if slot == 0x29fc {                        // 169.254.169.252/30
		slot = 0
	}
	base := [4]byte{169, 254, 128 | byte(slot>>8), byte(slot)}
	base[3]++
	outer = netip.PrefixFrom(netip.AddrFrom4(base), 30)
	base[3]++
	return outer, netip.PrefixFrom(netip.AddrFrom4(base), 30)
}

// ensureUnderlay makes the way that tunnels take: the link that the switch may
// have for itself, or one to the host, whose own stack forwards them.
func (d *Daemons) ensureUnderlay(ctx context.Context) error {
	if d.conf.ServiceLink != "" {
		return d.ensureServiceLink(ctx)
	}
	ip, err := netip.ParseAddr(d.conf.EncapIP)
	if err != nil || ip.IsLoopback() {
		return err // one machine has no tunnels
	}
	if !ip.Is4() {
		return fault.Invalidf("Tunnels over IPv6 need a service interface of their own.")
	}
	return d.ensureForwarding(ctx, ip)
}

// ensureServiceLink takes the link. The kernel's switch uses the addresses on
// it; the one in user space needs it in a bridge that carries them.
func (d *Daemons) ensureServiceLink(ctx context.Context) error {
	link := d.conf.ServiceLink
	if host.LinkExists(d.conf.HostNetns, d.underlayLink()) { // it had none before
		if _, err := d.Vsctl(ctx, "--if-exists", "del-br", underlayBridge); err != nil {
			return err
		}
		if err := d.dropUnderlay(ctx); err != nil {
			return err
		}
	}
	t, err := d.take(link)
	if err != nil {
		return err
	}
	if !hasAddress(t, d.conf.EncapIP) {
		return fmt.Errorf("the service interface %s does not have the service address %s", link, d.conf.EncapIP)
	}
	if d.datapath != "netdev" {
		return configure(d.Netns(), link, t)
	}
	if err := host.SetLinkUp(d.Netns(), link); err != nil {
		return err
	}
	if err := d.addUnderlayPort(ctx, link); err != nil {
		return err
	}
	return configure(d.Netns(), underlayBridge, t)
}

func hasAddress(t taken, ip string) bool {
	for _, p := range t.Addresses {
		if p.Addr().String() == ip {
			return true
		}
	}
	return false
}

// addUnderlayPort puts a link into the underlay's bridge, whose own port takes
// the link's hardware address: neighbours know that.
func (d *Daemons) addUnderlayPort(ctx context.Context, link string) error {
	info, err := host.FindLink(d.Netns(), link)
	if err != nil {
		return err
	}
	if err := host.DisableOffload(d.Netns(), link); err != nil {
		return err
	}
	_, err = d.Vsctl(ctx, "--may-exist", "add-br", underlayBridge, "--", "set", "bridge", underlayBridge,
		"datapath_type="+d.datapath, "fail_mode=standalone", "other_config:hwaddr=\""+info.MAC.String()+"\"",
		"--", "--may-exist", "add-port", underlayBridge, link)
	if err != nil {
		return err
	}
	// An address on the port itself would be answered for twice.
	if err := d.flushAddresses(link); err != nil {
		return err
	}
	if err := host.SetLinkUp(d.Netns(), underlayBridge); err != nil {
		return err
	}
	return host.DisableOffload(d.Netns(), underlayBridge)
}

func (d *Daemons) flushAddresses(link string) error {
	return host.InNetns(d.Netns(), func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		list, err := netlink.AddrList(l, netlink.FAMILY_V4)
		errs := []error{err}
		for i := range list {
			errs = append(errs, netlink.AddrDel(l, &list[i]))
		}
		return errors.Join(errs...)
	})
}

// ensureForwarding lets tunnels leave through the host: a link joins the
// switch's namespace to the host, which forwards what comes over it as from
// the service address, and gives what arrives there for a tunnel to the switch.
func (d *Daemons) ensureForwarding(ctx context.Context, service netip.Addr) error {
	err := host.EnsureVeth(host.Veth{Netns: d.conf.HostNetns, Name: d.underlayLink(), PeerNetns: d.Netns(), PeerName: d.underlayPeer(), MTU: d.conf.UnderlayMTU})
	if err != nil {
		return err
	}
	outer, inner := d.linkNet()
	if err := host.EnsureAddr(d.conf.HostNetns, d.underlayLink(), outer); err != nil {
		return err
	}
	inside := d.underlayPeer()
	if d.datapath == "netdev" {
		if err := host.DisableOffload(d.conf.HostNetns, d.underlayLink()); err != nil {
			return err
		}
		if err := d.addUnderlayPort(ctx, inside); err != nil {
			return err
		}
		inside = underlayBridge
	}
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if err := configure(d.Netns(), inside, taken{Addresses: []netip.Prefix{inner}, Routes: []takenRoute{{everywhere, outer.Addr()}}}); err != nil {
		return err
	}
	carrier, err := d.carrier(service)
	if err != nil {
		return err
	}
	for _, link := range []string{d.underlayLink(), carrier} {
		if err := setForwarding(d.conf.HostNetns, link); err != nil {
			return err
		}
	}
	return d.translate(ctx, service, inner.Addr())
}

// carrier is the host's link that has an address.
func (d *Daemons) carrier(a netip.Addr) (string, error) {
	name := ""
	err := host.InNetns(d.conf.HostNetns, func() error {
		list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		if err != nil {
			return err
		}
		for _, x := range list {
			if x.IP.Equal(a.AsSlice()) {
				l, err := netlink.LinkByIndex(x.LinkIndex)
				if err != nil {
					return err
				}
				name = l.Attrs().Name
			}
		}
		return nil
	})
	if err == nil && name == "" {
		err = fmt.Errorf("no link of this host has the service address %s", a)
	}
	return name, err
}

// setForwarding lets the host forward IPv4 packets that come in by a link.
func setForwarding(netns, link string) error {
	err := host.InNetns(netns, func() error {
		return os.WriteFile(filepath.Join("/proc/sys/net/ipv4/conf", link, "forwarding"), []byte("1\n"), 0o644)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forward packets of %s: %w", link, err)
	}
	return err
}

func (d *Daemons) natTable() string { return "tropo_" + d.short }

// translate puts the service address in the place of the switch's own, in both
// directions, by a table of nftables that has nothing else.
func (d *Daemons) translate(ctx context.Context, service, inner netip.Addr) error {
	rules := strings.NewReplacer("TABLE", d.natTable(), "SERVICE", service.String(), "INNER", inner.String(), "PORT", tunnelPort(d.conf.EncapType)).Replace(`
table ip TABLE
delete table ip TABLE
table ip TABLE {
	chain arrive {
		type nat hook prerouting priority dstnat
		ip daddr SERVICE udp dport PORT dnat to INNER
	}
	chain leave {
		type nat hook postrouting priority srcnat
		ip saddr INNER snat to SERVICE
	}
}
`)
	if err := d.nft(ctx, rules); err != nil {
		return fmt.Errorf("let tunnels share the host's address: %w", err)
	}
	return nil
}

// dropUnderlay removes what ensureForwarding made on the host.
func (d *Daemons) dropUnderlay(ctx context.Context) error {
	if !host.LinkExists(d.conf.HostNetns, d.underlayLink()) {
		return nil
	}
	err := d.nft(ctx, "table ip "+d.natTable()+"\ndelete table ip "+d.natTable()+"\n")
	return errors.Join(err, host.DeleteLink(d.conf.HostNetns, d.underlayLink()))
}
