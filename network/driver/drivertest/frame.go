package drivertest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/host"
)

// Frames made by hand, as a hostile guest would. Each carries a mark by which
// it is found at the other end.

func hw(s string) net.HardwareAddr {
	m, err := net.ParseMAC(s)
	if err != nil {
		panic(err) // test data
	}
	return m
}

func ethernet(dst, src string, kind uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(append(hw(dst), hw(src)...), kind), payload...)
}

func checksum(parts ...[]byte) uint16 {
	all := bytes.Join(parts, nil)
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var sum uint32
	for i := 0; i < len(all); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(all[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// pseudo is the pseudo header of transport checksums.
func pseudo(src, dst netip.Addr, proto byte, length int) []byte {
	out := append(src.AsSlice(), dst.AsSlice()...)
	if src.Is4() {
		return append(out, 0, proto, byte(length>>8), byte(length))
	}
	return append(out, 0, 0, byte(length>>8), byte(length), 0, 0, 0, proto)
}

func ipPacket(src, dst netip.Addr, proto byte, payload []byte) []byte {
	if src.Is4() {
		h := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, proto, 0, 0}
		binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
		h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
		binary.BigEndian.PutUint16(h[10:], checksum(h))
		return append(h, payload...)
	}
	h := []byte{0x60, 0, 0, 0, 0, 0, proto, 255}
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	return append(append(append(h, src.AsSlice()...), dst.AsSlice()...), payload...)
}

func udpPacket(src, dst netip.AddrPort, mark string) []byte {
	u := binary.BigEndian.AppendUint16(nil, src.Port())
	u = binary.BigEndian.AppendUint16(u, dst.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(mark)))
	u = append(append(u, 0, 0), mark...)
	binary.BigEndian.PutUint16(u[6:], checksum(pseudo(src.Addr(), dst.Addr(), 17, len(u)), u))
	return ipPacket(src.Addr(), dst.Addr(), 17, u)
}

func icmp6Packet(src, dst netip.Addr, kind byte, body []byte) []byte {
	m := append([]byte{kind, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(m[2:], checksum(pseudo(src, dst, 58, len(m)), m))
	return ipPacket(src, dst, 58, m)
}

// option6 is an experimental option of neighbour discovery with a mark.
func option6(mark string) []byte {
	b := make([]byte, 24)
	b[0], b[1] = 253, 3
	copy(b[2:], mark)
	return b
}

func arpReply(senderMAC string, senderIP netip.Addr, targetMAC string, targetIP netip.Addr, mark string) []byte {
	b := []byte{0, 1, 8, 0, 6, 4, 0, 2}
	b = append(append(b, hw(senderMAC)...), senderIP.AsSlice()...)
	b = append(append(b, hw(targetMAC)...), targetIP.AsSlice()...)
	return append(b, mark...) // behind the packet, as padding
}

// linkLocal is the EUI-64 address of a MAC.
func linkLocal(mac string) netip.Addr {
	m := hw(mac)
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}

// wire is a raw socket on a guest's link.
type wire struct {
	t     *testing.T
	fd    int
	index int
}

func openWire(t *testing.T, g *Guest) *wire {
	t.Helper()
	info, err := host.FindLink(g.Netns, "eth0")
	must(t, err)
	w := &wire{t: t, index: info.Index}
	const all = 0x0300 // ETH_P_ALL in network order
	must(t, host.InNetns(g.Netns, func() (err error) {
		w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		return err
	}))
	t.Cleanup(func() { unix.Close(w.fd) })
	must(t, unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: w.index}))
	must(t, unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200000}))
	return w
}

func (w *wire) send(frame []byte) {
	w.t.Helper()
	must(w.t, unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index}))
}

// first returns which of the marks is in the first marked frame that comes
// within a second, "" if none does.
func (w *wire) first(marks ...string) string {
	buf := make([]byte, 4096)
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			continue // the timeout of the socket
		}
		for _, m := range marks {
			if bytes.Contains(buf[:n], []byte(m)) {
				return m
			}
		}
	}
	return ""
}
