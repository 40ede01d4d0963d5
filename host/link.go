package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The functions on links take the name of a network namespace first; empty:
// the process's own. All are idempotent.

// Veth describes a pair of virtual Ethernet links.
type Veth struct {
	Netns, Name         string
	PeerNetns, PeerName string
	MAC, PeerMAC        net.HardwareAddr // nil: the kernel's choice
	MTU                 int              // 0: 1500
}

// EnsureVeth makes the pair and brings both ends up. A pair of that name is
// kept when its other end is where it should be, and made anew otherwise.
func EnsureVeth(v Veth) error {
	if LinkExists(v.Netns, v.Name) && !LinkExists(v.PeerNetns, v.PeerName) {
		if err := DeleteLink(v.Netns, v.Name); err != nil {
			return err
		}
	}
	if !LinkExists(v.Netns, v.Name) {
		if err := addVeth(v); err != nil {
			return err
		}
	}
	for _, end := range [][2]string{{v.Netns, v.Name}, {v.PeerNetns, v.PeerName}} {
		if v.MTU > 0 {
			if err := SetLinkMTU(end[0], end[1], v.MTU); err != nil {
				return err
			}
		}
		if err := SetLinkUp(end[0], end[1]); err != nil {
			return err
		}
	}
	return nil
}

func addVeth(v Veth) error {
	peer, err := openNetns(v.PeerNetns)
	if err != nil {
		return err
	}
	defer unix.Close(peer)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = v.Name, v.MAC, v.MTU
	link := &netlink.Veth{
		LinkAttrs: attrs, PeerName: v.PeerName, PeerHardwareAddr: v.PeerMAC,
		PeerNamespace: netlink.NsFd(peer), PeerMTU: uint32(max(v.MTU, 0)),
	}
	err = InNetns(v.Netns, func() error { return retry(func() error { return netlink.LinkAdd(link) }) })
	if err != nil {
		return fmt.Errorf("host: make veth %s and %s: %w", v.Name, v.PeerName, err)
	}
	return nil
}

// openNetns opens a named namespace, or the process's own.
func openNetns(name string) (int, error) {
	path := "/proc/self/ns/net"
	if name != "" {
		if err := checkNetns(name); err != nil {
			return -1, err
		}
		path = netnsDir + "/" + name
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("host: network namespace %q: %w", name, err)
	}
	return fd, nil
}

// Tap describes a TAP device for a guest.
type Tap struct {
	Netns, Name string
	Owner       int              // user id that may open it; 0: root alone
	MAC         net.HardwareAddr // of the host's end; nil: the kernel's choice
	MTU         int              // 0: 1500
	VNetHdr     bool             // packets carry virtio's header
	MultiQueue  bool
}

// EnsureTap makes the persistent device and brings it up.
func EnsureTap(t Tap) error {
	if !LinkExists(t.Netns, t.Name) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = t.Name
		link := &netlink.Tuntap{
			LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Owner: uint32(t.Owner),
			Flags: netlink.TUNTAP_NO_PI, Queues: 1,
		}
		if t.VNetHdr {
			link.Flags |= netlink.TUNTAP_VNET_HDR
		}
		if t.MultiQueue {
			link.Flags |= netlink.TUNTAP_MULTI_QUEUE
		}
		err := InNetns(t.Netns, func() error {
			if err := retry(func() error { return netlink.LinkAdd(link) }); err != nil {
				return err
			}
			for _, f := range link.Fds {
				f.Close() // QEMU opens the queue
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("host: make tap %s: %w", t.Name, err)
		}
	}
	if t.MAC != nil {
		if err := SetLinkMAC(t.Netns, t.Name, t.MAC); err != nil {
			return err
		}
	}
	if t.MTU > 0 {
		if err := SetLinkMTU(t.Netns, t.Name, t.MTU); err != nil {
			return err
		}
	}
	return SetLinkUp(t.Netns, t.Name)
}

// EnsureBridge makes a Linux bridge without spanning tree and brings it up.
func EnsureBridge(netns, name string) error {
	if !LinkExists(netns, name) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = name
		err := InNetns(netns, func() error {
			return retry(func() error { return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}) })
		})
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("host: make bridge %s: %w", name, err)
		}
	}
	return SetLinkUp(netns, name)
}

// SetLinkMaster puts a link into a bridge; an empty master takes it out.
func SetLinkMaster(netns, name, master string) error {
	return withLink(netns, name, func(l netlink.Link) error {
		if master == "" {
			return netlink.LinkSetNoMaster(l)
		}
		m, err := findLink(master)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(l, m)
	})
}

// DeleteLink deletes a link; with one end of a veth goes the other.
func DeleteLink(netns, name string) error {
	if netns != "" && !NetnsExists(netns) {
		return nil
	}
	err := withLink(netns, name, netlink.LinkDel)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// LinkExists reports whether the namespace has the link.
func LinkExists(netns, name string) bool {
	return InNetns(netns, func() error { _, err := findLink(name); return err }) == nil
}

// LinkInfo is what the kernel says about a link.
type LinkInfo struct {
	Name  string
	Index int
	Type  string // "veth", "tuntap", "bridge", "device", …
	MAC   net.HardwareAddr
	MTU   int
	Up    bool // administratively
}

// Links lists the links of a namespace.
func Links(netns string) ([]LinkInfo, error) {
	var out []LinkInfo
	err := InNetns(netns, func() error {
		return retry(func() error {
			list, err := netlink.LinkList()
			out = out[:0]
			for _, l := range list {
				out = append(out, linkInfo(l))
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("host: links of %q: %w", netns, err)
	}
	return out, nil
}

// FindLink returns what the kernel says about one link.
func FindLink(netns, name string) (LinkInfo, error) {
	var info LinkInfo
	err := withLink(netns, name, func(l netlink.Link) error { info = linkInfo(l); return nil })
	return info, err
}

func linkInfo(l netlink.Link) LinkInfo {
	a := l.Attrs()
	return LinkInfo{a.Name, a.Index, l.Type(), a.HardwareAddr, a.MTU, a.Flags&net.FlagUp != 0}
}

// SetLinkUp brings a link up.
func SetLinkUp(netns, name string) error {
	return InNetns(netns, func() error { return setUp(name, true) })
}

// SetLinkDown brings a link down.
func SetLinkDown(netns, name string) error {
	return InNetns(netns, func() error { return setUp(name, false) })
}

func setUp(name string, up bool) error {
	return withLink("", name, func(l netlink.Link) error {
		if up {
			return netlink.LinkSetUp(l)
		}
		return netlink.LinkSetDown(l)
	})
}

// SetLinkMTU sets a link's MTU in bytes.
func SetLinkMTU(netns, name string, mtu int) error {
	return withLink(netns, name, func(l netlink.Link) error {
		if l.Attrs().MTU == mtu {
			return nil
		}
		return netlink.LinkSetMTU(l, mtu)
	})
}

// SetLinkMAC sets a link's hardware address.
func SetLinkMAC(netns, name string, mac net.HardwareAddr) error {
	return withLink(netns, name, func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, mac) })
}

// EnsureAddr gives a link an address with its prefix length. An IPv6 address
// is usable at once, as no duplicate is looked for.
func EnsureAddr(netns, name string, p netip.Prefix) error {
	return withLink(netns, name, func(l netlink.Link) error {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrReplace(l, a)
	})
}

// Overlapping lists the links of a namespace, but for one, that have an address
// whose subnet overlaps p: what is sent into that subnet may leave by any of them.
func Overlapping(netns, but string, p netip.Prefix) ([]string, error) {
	var out []string
	err := InNetns(netns, func() error {
		return retry(func() error {
			out = out[:0]
			links, err := netlink.LinkList()
			if err != nil {
				return err
			}
			for _, l := range links {
				if l.Attrs().Name == but {
					continue
				}
				addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(addrs, func(a netlink.Addr) bool {
					q, err := netip.ParsePrefix(a.IPNet.String())
					return err == nil && q.Overlaps(p)
				}) {
					out = append(out, l.Attrs().Name)
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("host: addresses of %q: %w", netns, err)
	}
	return out, nil
}

// DeleteAddr takes an address away.
func DeleteAddr(netns, name string, p netip.Prefix) error {
	err := withLink(netns, name, func(l netlink.Link) error { return netlink.AddrDel(l, &netlink.Addr{IPNet: ipNet(p)}) })
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// EnsureRoute sends dst by gateway via (invalid: directly) out of a link.
func EnsureRoute(netns, name string, dst netip.Prefix, via netip.Addr) error {
	return withLink(netns, name, func(l netlink.Link) error {
		r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(dst), Scope: netlink.SCOPE_LINK}
		if via.IsValid() {
			r.Gw, r.Scope = via.AsSlice(), netlink.SCOPE_UNIVERSE
		}
		return netlink.RouteReplace(r)
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func findLink(name string) (netlink.Link, error) {
	var l netlink.Link
	err := retry(func() (err error) { l, err = netlink.LinkByName(name); return err })
	return l, err
}

func withLink(netns, name string, f func(netlink.Link) error) error {
	return InNetns(netns, func() error {
		l, err := findLink(name)
		if err == nil {
			err = retry(func() error { return f(l) })
		}
		if err != nil {
			return fmt.Errorf("host: link %s: %w", name, err)
		}
		return nil
	})
}
