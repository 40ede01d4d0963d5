package bustest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a connection and a broker, to be cut.
type Proxy struct {
	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu     sync.Mutex
	mode   proxyMode
	change chan struct{} // closed, and replaced, when mode changes
	conns  map[net.Conn]bool
}

type proxyMode int

const (
	passing proxyMode = iota
	cut               // connections break, new ones are refused
	silent            // nothing passes, nobody is told
	ended
)

// NewProxy passes what comes on to the TCP address, until the test ends.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: to, listener: l, change: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.set(ended)
		_ = l.Close()
		p.running.Wait()
	})
	return p
}

// Address is where to connect.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Cut breaks all connections and refuses new ones.
func (p *Proxy) Cut() { p.set(cut) }

// Silence lets nothing pass any more; nobody is told, as when a cable is
// pulled.
func (p *Proxy) Silence() { p.set(silent) }

// Heal ends Cut and Silence. What was sent meanwhile arrives after a Silence.
func (p *Proxy) Heal() { p.set(passing) }

func (p *Proxy) set(m proxyMode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.change)
	p.change = make(chan struct{})
	if m == cut || m == ended {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || !p.keep(c) {
			continue
		}
		p.running.Go(func() { p.serve(c) })
	}
}

// keep takes c in, or closes it when there shall be no connections.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == cut || p.mode == ended {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) serve(c net.Conn) {
	defer p.drop(c)
	if !p.pass() {
		return
	}
	up, err := net.Dial("tcp", p.to)
	if err != nil || !p.keep(up) {
		return
	}
	defer p.drop(up)
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, up}, {up, c}} {
		both.Go(func() {
			p.copy(way[0], way[1])
			_ = way[0].Close()
			_ = way[1].Close()
		})
	}
	both.Wait()
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) copy(from io.Reader, to io.Writer) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits until something may pass; false: never.
func (p *Proxy) pass() bool {
	for {
		p.mu.Lock()
		mode, change := p.mode, p.change
		p.mu.Unlock()
		switch mode {
		case passing:
			return true
		case silent:
			<-change
		default:
			return false
		}
	}
}
