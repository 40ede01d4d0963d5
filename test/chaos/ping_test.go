package chaos

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tropocloud/tropo/host"
)

// pinger sends an echo request a few times a second and logs when answers
// came, as `ping -D` would.
type pinger struct {
	name    string
	address netip.Addr
	conn    net.PacketConn
	stop    chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	begin   time.Time
	answers []time.Time
}

const pingInterval = 200 * time.Millisecond

// ping starts to ping an address from the machine.
func (m *machine) ping(name string, a netip.Addr) (*pinger, error) {
	p := &pinger{name: name, address: a, stop: make(chan struct{}), begin: time.Now()}
	err := host.InNetns(m.netns, func() (err error) {
		p.conn, err = net.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	p.wg.Go(p.send)
	p.wg.Go(p.receive)
	return p, nil
}

// identifier of our echo requests; all addresses differ.
func (p *pinger) identifier() uint16 { a := p.address.As4(); return uint16(a[3])<<8 | 0x17 }

func (p *pinger) send() {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for seq := uint16(1); ; seq++ {
		// RFC 792: type 8, code 0, checksum, identifier, sequence number.
		b := make([]byte, 24)
		b[0] = 8
		binary.BigEndian.PutUint16(b[4:], p.identifier())
		binary.BigEndian.PutUint16(b[6:], seq)
		binary.BigEndian.PutUint16(b[2:], checksum(b))
		_, _ = p.conn.WriteTo(b, &net.IPAddr{IP: p.address.AsSlice()}) // no answer comes then
		select {
		case <-tick.C:
		case <-p.stop:
			return
		}
	}
}

func (p *pinger) receive() {
	b := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(b)
		if err != nil {
			return // closed
		}
		// net strips the IP header. Type 0: an answer.
		if n >= 8 && b[0] == 0 && binary.BigEndian.Uint16(b[4:]) == p.identifier() && from.String() == p.address.String() {
			p.mu.Lock()
			p.answers = append(p.answers, time.Now())
			p.mu.Unlock()
		}
	}
}

// close ends the pings; the log stays.
func (p *pinger) close() {
	close(p.stop)
	_ = p.conn.Close() // nothing is to be saved
	p.wg.Wait()
}

// answered reports whether an answer came after a time.
func (p *pinger) answered(after time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.answers) > 0 && p.answers[len(p.answers)-1].After(after)
}

// outage is the longest time without an answer between two times.
func (p *pinger) outage(from, to time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, worst := p.begin, time.Duration(0)
	for _, a := range p.answers {
		if a.After(from) && last.Before(to) {
			worst = max(worst, earlier(a, to).Sub(later(last, from)))
		}
		last = a
	}
	if last.Before(to) {
		worst = max(worst, to.Sub(later(last, from)))
	}
	return worst
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
