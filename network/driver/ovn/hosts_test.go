package ovn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/ovn"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
)

// site is several hosts: network namespaces that one more, with a bridge per
// network in it, joins. Host i has 10.89.0.i (management) on eth0, 10.89.1.i
// (tunnels) on eth1, and eth2 in the provider network.
type site struct {
	dir   string
	name  string
	hosts []*siteHost
	many  atomic.Int32 // of the hosts are control nodes
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
}

type siteHost struct {
	netns  string
	conf   daemons.Config
	cloud  *daemons.Daemons
	cancel context.CancelFunc
	ended  chan error
}

func (s *site) management(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 89, 0, byte(i + 1)}) }

func (s *site) service(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 89, 1, byte(i + 1)}) }

// wires is the namespace between the hosts.
func (s *site) wires() string { return s.name + "-sw" }

func newSite(t *testing.T, hosts int) *site {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"ovsdb-server", "ovs-vswitchd", "ovn-northd", "ovn-controller", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir, err := os.MkdirTemp("", "ovn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var b [3]byte
	rand.Read(b[:])
	s := &site{dir: dir, name: "trs" + hex.EncodeToString(b[:])}
	s.authority(t)
	must(t, host.EnsureNetns(s.wires()))
	t.Cleanup(func() { check(t, host.DeleteNetns(s.wires())) })
	for _, n := range []string{"mgmt", "svc", "prov"} {
		must(t, host.EnsureBridge(s.wires(), n))
	}
	for i := range hosts {
		s.addHost(t, i)
	}
	return s
}

func (s *site) addHost(t *testing.T, i int) {
	t.Helper()
	h := &siteHost{netns: fmt.Sprintf("%s-h%d", s.name, i+1)}
	must(t, host.EnsureNetns(h.netns))
	t.Cleanup(func() { check(t, host.DeleteNetns(h.netns)) })
	for link, n := range []string{"mgmt", "svc", "prov"} {
		port := fmt.Sprintf("%s%d", n, i)
		must(t, host.EnsureVeth(host.Veth{Netns: s.wires(), Name: port, PeerNetns: h.netns, PeerName: fmt.Sprintf("eth%d", link)}))
		must(t, host.SetLinkMaster(s.wires(), port, n))
	}
	must(t, host.EnsureAddr(h.netns, "eth0", netip.PrefixFrom(s.management(i), 24)))
	must(t, host.EnsureAddr(h.netns, "eth1", netip.PrefixFrom(s.service(i), 24)))
	dir := filepath.Join(s.dir, fmt.Sprintf("h%d", i+1))
	h.conf = daemons.Config{
		ID: dir, Dir: dir, Chassis: fmt.Sprintf("h%d", i+1), HostNetns: h.netns, TLS: s.certificate(t, i),
		EncapIP: s.service(i).String(), Log: slog.New(slog.DiscardHandler), PhysicalNetworks: map[string]string{},
	}
	s.hosts = append(s.hosts, h)
}

// controls makes the first n hosts control nodes; those that run hear of it.
func (s *site) controls(n int) {
	s.many.Store(int32(n))
	for i, h := range s.hosts {
		if i < n {
			h.conf.Central, h.conf.Address = true, s.management(i)
		}
		h.conf.Controls = func() []netip.Addr {
			var out []netip.Addr
			for j := range int(s.many.Load()) {
				out = append(out, s.management(j))
			}
			return out
		}
	}
}

// start runs the daemons of a host until the test ends.
func (s *site) start(t *testing.T, i int) *daemons.Daemons {
	t.Helper()
	h := s.hosts[i]
	var err error
	if h.cloud, err = daemons.New(h.conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.rest()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		check(t, h.cloud.Stop(ctx))
		os.RemoveAll(h.conf.Dir)
	})
	if err := h.cloud.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.ended = cancel, make(chan error, 1)
	go func() { h.ended <- h.cloud.Run(ctx) }()
	return h.cloud
}

// rest ends the supervisor of a host's daemons; they run on.
func (h *siteHost) rest() {
	if h.cancel != nil {
		h.cancel()
		<-h.ended
		h.cancel = nil
	}
}

// driver opens the northbound database from a control node.
func (s *site) driver(t *testing.T, i int) *ovn.Driver {
	t.Helper()
	d, err := ovn.Open(ovn.Options{
		Remotes: s.hosts[i].cloud.NorthboundRemotes, TLS: s.tls(i), Dial: s.dial(i), Capabilities: s.hosts[i].cloud.Capabilities(),
		Timeout: time.Minute, // there may be an election meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// dial connects from a host.
func (s *site) dial(i int) ovsdb.DialFunc {
	return func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = host.InNetns(s.hosts[i].netns, func() error {
			c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}
}

func (s *site) tls(i int) func() (*tls.Config, error) {
	return func() (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(s.hosts[i].conf.TLS.Cert, s.hosts[i].conf.TLS.Key)
		roots := x509.NewCertPool()
		roots.AddCert(s.ca)
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: roots}, err
	}
}

// authority makes the certificate that signs the hosts'.
func (s *site) authority(t *testing.T) {
	t.Helper()
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	s.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, s.ca, s.ca, s.key.Public(), s.key)
	must(t, err)
	s.ca, err = x509.ParseCertificate(der)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(s.dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

func (s *site) certificate(t *testing.T, i int) daemons.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: fmt.Sprintf("h%d", i+1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{s.management(i).AsSlice()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.ca, key.Public(), s.key)
	must(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	f := daemons.TLS{CA: filepath.Join(s.dir, "ca.pem"), Cert: filepath.Join(s.dir, fmt.Sprintf("h%d.pem", i+1)), Key: filepath.Join(s.dir, fmt.Sprintf("h%d.key", i+1))}
	must(t, os.WriteFile(f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// open is a security group that lets everything pass.
func open() driver.SecurityGroup {
	return driver.SecurityGroup{ID: "open", Rules: []driver.Rule{{ID: "open-in", Direction: driver.Ingress}, {ID: "open-out", Direction: driver.Egress}}}
}
