package ovn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
)

// MetadataPort is the port of kind KindMetadata of a network, as it is plugged
// on this host.
type MetadataPort struct {
	NetworkID string
	PortID    string
	MAC       string
	Addresses []netip.Prefix // one per subnet, with the subnet's length
	MTU       int            // of the network in bytes; 0: 1500
}

// MetadataHandler answers the HTTP requests of a network's guests. The caller
// is r.RemoteAddr in the network networkID; port security makes that address
// trustworthy.
type MetadataHandler func(w http.ResponseWriter, r *http.Request, networkID string)

// Addresses of the metadata service in every network.
var (
	metadataV4 = netip.MustParsePrefix("169.254.169.254/32")
	metadataV6 = netip.MustParsePrefix("fe80::a9fe:a9fe/64")
)

// metadataLink is the link's name in a metadata namespace.
const metadataLink = "metadata"

// Metadata serves the metadata service on this host: a namespace per network,
// as networks' address ranges overlap, with an HTTP listener in each. The
// namespaces outlive tropo, and guests' connections only wait while it is away.
type Metadata struct {
	cloud   *daemons.Daemons
	handler MetadataHandler
	log     *slog.Logger

	mu      sync.Mutex
	servers map[string]*metadataServer // by namespace
}

// metadataServer is the listener in one namespace.
type metadataServer struct {
	http  *http.Server
	inode uint64 // of the namespace: one made anew has another
	ended chan struct{}
}

// NewMetadata serves with handler. Nothing is set up before Ensure or Sync.
func NewMetadata(cloud *daemons.Daemons, handler MetadataHandler, log *slog.Logger) *Metadata {
	if log == nil {
		log = slog.Default()
	}
	return &Metadata{cloud: cloud, handler: handler, log: log, servers: map[string]*metadataServer{}}
}

// metadataName is the part of names that comes from a network's id: 12 hex
// digits of a UUID, or a hash.
func metadataName(networkID string) string {
	hex := strings.ReplaceAll(networkID, "-", "")
	if len(hex) == 32 && strings.Trim(hex, "0123456789abcdef") == "" {
		return hex[:12]
	}
	return daemons.ShortID(networkID)
}

// Namespace is the name of a network's metadata namespace.
func (m *Metadata) Namespace(networkID string) string {
	return m.cloud.MetadataPrefix() + metadataName(networkID)
}

// Ensure plugs the port and serves on it.
func (m *Metadata) Ensure(ctx context.Context, p MetadataPort) error {
	mac, ok := driver.NormalMAC(p.MAC)
	if !ok || !driver.ValidID(p.NetworkID) || !driver.ValidID(p.PortID) {
		return fault.Invalidf("Metadata port %q of network %q: invalid id or MAC address %q.", p.PortID, p.NetworkID, p.MAC)
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		return fault.Invalidf("Metadata port %s: invalid MAC address.", p.PortID)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.plug(ctx, p, hw); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The metadata port of network %s could not be set up.", p.NetworkID)
	}
	if err := m.serve(p.NetworkID); err != nil {
		return fault.Wrap(fault.Unavailable, err, "The metadata service of network %s could not be started.", p.NetworkID)
	}
	return nil
}

func (m *Metadata) plug(ctx context.Context, p MetadataPort, mac net.HardwareAddr) error {
	ns, outer := m.Namespace(p.NetworkID), "md"+metadataName(p.NetworkID)
	if err := host.EnsureNetns(ns); err != nil {
		return err
	}
	mtu := p.MTU
	if mtu == 0 {
		mtu = 1500
	}
	err := host.EnsureVeth(host.Veth{Netns: m.cloud.Netns(), Name: outer, PeerNetns: ns, PeerName: metadataLink, PeerMAC: mac, MTU: mtu})
	if err != nil {
		return err
	}
	if info, err := host.FindLink(ns, metadataLink); err != nil || info.MAC.String() != mac.String() {
		if err := errors.Join(err, host.SetLinkMAC(ns, metadataLink, mac)); err != nil {
			return err
		}
	}
	if err := daemons.IgnoreAdvertisements(ns, metadataLink); err != nil {
		return err
	}
	if m.cloud.Capabilities().DatapathType == "netdev" {
		if err := errors.Join(host.DisableOffload(ns, metadataLink), host.DisableOffload(m.cloud.Netns(), outer)); err != nil {
			return err
		}
	}
	if err := setAddresses(ns, append([]netip.Prefix{metadataV4, metadataV6}, p.Addresses...)); err != nil {
		return err
	}
	_, err = m.cloud.Vsctl(ctx, "--may-exist", "add-port", m.cloud.Capabilities().Bridge, outer, "--", "set", "interface", outer,
		`external_ids:iface-id="`+p.PortID+`"`, "external_ids:iface-status=active")
	return err
}

// setAddresses gives the link these addresses and no others (but its own
// link-local one).
func setAddresses(ns string, wanted []netip.Prefix) error {
	keep := map[string]bool{}
	for _, p := range wanted {
		if !p.IsValid() {
			continue
		}
		keep[p.String()] = true
		if err := host.EnsureAddr(ns, metadataLink, p); err != nil {
			return err
		}
	}
	var stale []netip.Prefix
	err := host.InNetns(ns, func() error {
		l, err := netlink.LinkByName(metadataLink)
		if err != nil {
			return err
		}
		list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		for _, a := range list {
			p, perr := netip.ParsePrefix(a.IPNet.String())
			if perr == nil && !keep[p.String()] && !(p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()) {
				stale = append(stale, p)
			}
		}
		return err
	})
	for _, p := range stale {
		err = errors.Join(err, host.DeleteAddr(ns, metadataLink, p))
	}
	return err
}

// serve listens in the namespace, unless it does already.
func (m *Metadata) serve(networkID string) error {
	ns := m.Namespace(networkID)
	inode, err := namespaceInode(ns)
	if err != nil {
		return err
	}
	if s := m.servers[ns]; s != nil {
		if s.inode == inode {
			return nil
		}
		s.close()
		delete(m.servers, ns)
	}
	l, err := ListenIn(ns, ":80")
	if err != nil {
		return err
	}
	s := &metadataServer{inode: inode, ended: make(chan struct{}), http: &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.handler(w, r, networkID) }),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(m.log.Handler(), slog.LevelDebug),
	}}
	m.servers[ns] = s
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			m.log.Error("metadata listener ended", slog.String("network", networkID), slog.Any("error", err))
		}
	}()
	return nil
}

func (s *metadataServer) close() {
	s.http.Close()
	<-s.ended
}

func namespaceInode(ns string) (uint64, error) {
	var raw unix.Stat_t
	err := unix.Stat("/run/netns/"+ns, &raw)
	return raw.Ino, err
}

// Remove stops serving a network and removes its namespace and link.
func (m *Metadata) Remove(ctx context.Context, networkID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.remove(ctx, metadataName(networkID))
}

func (m *Metadata) remove(ctx context.Context, name string) error {
	ns, outer := m.cloud.MetadataPrefix()+name, "md"+name
	if s := m.servers[ns]; s != nil {
		s.close()
		delete(m.servers, ns)
	}
	if _, err := m.cloud.Vsctl(ctx, "--if-exists", "del-port", outer); err != nil {
		return fault.Wrap(fault.Unavailable, err, "A metadata port could not be removed.")
	}
	if err := errors.Join(host.DeleteLink(m.cloud.Netns(), outer), host.DeleteNetns(ns)); err != nil {
		return fault.Wrap(fault.Unavailable, err, "A metadata namespace could not be removed.")
	}
	return nil
}

// Sync serves exactly these networks. One network's failure does not stop the
// others.
func (m *Metadata) Sync(ctx context.Context, ports []MetadataPort) error {
	var errs []error
	keep := map[string]bool{}
	for _, p := range ports {
		keep[m.Namespace(p.NetworkID)] = true
		errs = append(errs, m.Ensure(ctx, p))
	}
	there, err := m.cloud.MetadataNamespaces()
	errs = append(errs, err)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ns := range there {
		if !keep[ns] {
			errs = append(errs, m.remove(ctx, strings.TrimPrefix(ns, m.cloud.MetadataPrefix())))
		}
	}
	return errors.Join(errs...)
}

// Close ends the listeners and leaves namespaces and ports.
func (m *Metadata) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ns, s := range m.servers {
		s.close()
		delete(m.servers, ns)
	}
	return nil
}

// ListenIn opens a TCP listener inside a network namespace; address is
// "HOST:PORT" with a literal or empty host. The listener works from anywhere.
func ListenIn(netns, address string) (net.Listener, error) {
	var l net.Listener
	err := host.InNetns(netns, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s in namespace %s: %w", address, netns, err)
	}
	return l, nil
}
