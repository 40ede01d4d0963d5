package drivertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
)

// Guest is a network namespace that plays a server on a port: a veth in place
// of the tap.
type Guest struct {
	Netns string
	port  driver.Port
	caps  driver.Capabilities
	outer string
}

// Plug makes a guest on a port of an "ovs" dataplane. It is unplugged when the
// test ends, if not before.
func Plug(t *testing.T, caps driver.Capabilities, p driver.Port) *Guest {
	t.Helper()
	var b [4]byte
	rand.Read(b[:])
	name := hex.EncodeToString(b[:])
	g := &Guest{Netns: "trguest-" + name, port: p, caps: caps, outer: "trg" + name}
	must(t, host.EnsureNetns(g.Netns))
	t.Cleanup(func() { g.Unplug(t) })
	mac, err := net.ParseMAC(p.MAC)
	must(t, err)
	must(t, host.EnsureVeth(host.Veth{Netns: caps.Netns, Name: g.outer, PeerNetns: g.Netns, PeerName: "eth0", PeerMAC: mac, MTU: caps.TunnelMTU}))
	if caps.DatapathType == "netdev" {
		must(t, host.DisableOffload(g.Netns, "eth0"))
	}
	g.vsctl(t, "--may-exist", "add-port", caps.Bridge, g.outer, "--", "set", "interface", g.outer, `external_ids:iface-id="`+p.ID+`"`)
	return g
}

func (g *Guest) vsctl(t *testing.T, args ...string) {
	t.Helper()
	_, err := host.Run(context.WithoutCancel(t.Context()), host.Command{
		Path: "ovs-vsctl", Args: append([]string{"--db=unix:" + g.caps.OVSDB, "--timeout=20"}, args...),
	})
	if err != nil {
		t.Errorf("plug: %v", err)
	}
}

// Unplug takes the guest away; again is no error.
func (g *Guest) Unplug(t *testing.T) {
	if !host.NetnsExists(g.Netns) {
		return
	}
	g.vsctl(t, "--if-exists", "del-port", g.outer)
	if err := host.DeleteLink(g.caps.Netns, g.outer); err != nil {
		t.Errorf("unplug: %v", err)
	}
	if err := host.DeleteNetns(g.Netns); err != nil {
		t.Errorf("unplug: %v", err)
	}
}

// Static gives the guest an address, and a default route if via is valid.
func (g *Guest) Static(t *testing.T, p netip.Prefix, via netip.Addr) {
	t.Helper()
	must(t, host.EnsureAddr(g.Netns, "eth0", p))
	if via.IsValid() {
		must(t, host.EnsureRoute(g.Netns, "eth0", netip.PrefixFrom(netip.IPv4Unspecified(), 0), via))
	}
}

// DHCP asks for a lease and configures the guest by it, classless routes
// included.
func (g *Guest) DHCP(t *testing.T) *dhcpv4.DHCPv4 {
	t.Helper()
	mac, err := net.ParseMAC(g.port.MAC)
	must(t, err)
	discover, err := dhcpv4.NewDiscovery(mac, dhcpv4.WithBroadcast(true),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionBootfileName))
	must(t, err)
	offer := g.exchange(t, discover)
	request, err := dhcpv4.NewRequestFromOffer(offer, dhcpv4.WithBroadcast(true))
	must(t, err)
	ack := g.exchange(t, request)
	ones, _ := ack.SubnetMask().Size()
	ip, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	must(t, host.EnsureAddr(g.Netns, "eth0", netip.PrefixFrom(ip, ones)))
	for _, r := range ack.ClasslessStaticRoute() {
		dst, _ := netip.AddrFromSlice(r.Dest.IP.To4())
		via, _ := netip.AddrFromSlice(r.Router.To4())
		ones, _ := r.Dest.Mask.Size()
		must(t, host.EnsureRoute(g.Netns, "eth0", netip.PrefixFrom(dst, ones), via))
	}
	return ack
}

// exchange broadcasts a DHCP message until an answer comes.
func (g *Guest) exchange(t *testing.T, m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	t.Helper()
	ctx := deadline(t)
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if cerr := c.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.BindToDevice(int(fd), "eth0"))
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	var c net.PacketConn
	must(t, host.InNetns(g.Netns, func() (err error) {
		c, err = lc.ListenPacket(ctx, "udp4", "0.0.0.0:68")
		return err
	}))
	defer c.Close()
	buf := make([]byte, 2048)
	for ctx.Err() == nil {
		if _, err := c.WriteTo(m.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}); err != nil {
			t.Fatalf("send DHCP: %v", err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		for {
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				break
			}
			if answer, err := dhcpv4.FromBytes(buf[:n]); err == nil && answer.TransactionID == m.TransactionID && answer.OpCode == dhcpv4.OpcodeBootReply {
				return answer
			}
		}
	}
	t.Fatalf("no DHCP answer on port %s", g.port.ID)
	return nil
}

// Serve answers each TCP connection to address in a namespace ("": the host's)
// with the peer's address. It returns the address that it listens on.
func Serve(t *testing.T, netns, address string) string {
	t.Helper()
	var l net.Listener
	must(t, host.InNetns(netns, func() (err error) { l, err = net.Listen("tcp", address); return err }))
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			peer, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprint(c, peer)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// dial connects once and returns what the server says.
func dial(netns, address string, timeout time.Duration) (string, error) {
	var c net.Conn
	err := host.InNetns(netns, func() (err error) {
		c, err = net.DialTimeout("tcp", address, timeout)
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(timeout))
	b, err := io.ReadAll(io.LimitReader(c, 1024))
	return string(b), err
}

// Reaches waits until a connection succeeds and returns who the server saw.
func Reaches(t *testing.T, netns, address string) string {
	t.Helper()
	ctx := deadline(t)
	for {
		peer, err := dial(netns, address, 2*time.Second)
		if err == nil {
			return strings.TrimPrefix(peer, "::ffff:")
		}
		if ctx.Err() != nil {
			t.Fatalf("%s does not reach %s: %v", netns, address, err)
		}
	}
}

// Blocked waits until connections get no answer, not even a refusal.
func Blocked(t *testing.T, netns, address string) {
	t.Helper()
	ctx := deadline(t)
	for {
		_, err := dial(netns, address, 500*time.Millisecond)
		if err != nil && !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, io.EOF) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s is not kept from %s: %v", netns, address, err)
		}
	}
}
