// Package directorytest starts an LDAP server (Debian's slapd) for tests, with
// a folder and a port of its own.
package directorytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	random "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// The tree of the server, and who may change it.
const (
	Suffix       = "dc=corp,dc=test"
	RootDN       = "cn=root," + Suffix
	RootPassword = "root-secret"
)

// Server is a running slapd with units Users and UserGroups.
type Server struct {
	t    testing.TB
	dir  string
	bin  string
	cmd  *exec.Cmd
	addr string
	// URL and TLSURL are its addresses, CAFile the certificate of its TLS.
	URL, TLSURL, CAFile string
}

// Start starts a server that ends with the test; where slapd is not installed
// the test is skipped.
func Start(t testing.TB) *Server {
	t.Helper()
	bin := ""
	for _, p := range []string{"/usr/sbin/slapd", "/usr/libexec/slapd", "/usr/local/libexec/slapd"} {
		if _, err := os.Stat(p); err == nil {
			bin = p
			break
		}
	}
	if bin == "" {
		t.Skip("slapd is not installed: deploy/packages.sh test")
	}
	dir, err := os.MkdirTemp("", "slapd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{t: t, dir: dir, bin: bin, CAFile: filepath.Join(dir, "ca.pem")}
	s.certificate()
	s.configure()
	plain, secure := freePorts(t)
	s.addr = plain
	s.URL, s.TLSURL = "ldap://"+plain, "ldaps://"+secure
	s.Up()
	t.Cleanup(s.Down)
	s.Add(Suffix, "objectClass", "dcObject", "objectClass", "organization", "dc", "corp", "o", "Corp")
	for _, u := range []string{"Users", "UserGroups"} {
		s.Add("ou="+u+","+Suffix, "objectClass", "organizationalUnit", "ou", u)
	}
	return s
}

// freePorts finds two ports below those that the kernel hands out: nobody gets
// them before the server does, or while the server is down.
func freePorts(t testing.TB) (a, b string) {
	t.Helper()
	first, second := freePort(t), freePort(t) // both are held, so they differ
	defer func() { _, _ = first.Close(), second.Close() }()
	return first.Addr().String(), second.Addr().String()
}

func freePort(t testing.TB) net.Listener {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+random.N(20000)))) //nolint:gosec // no secret
		if err == nil {
			return l
		}
	}
	t.Fatal("no port is free")
	return nil
}

func (s *Server) write(name, content string) string {
	s.t.Helper()
	p := filepath.Join(s.dir, name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// certificate makes a key and a certificate for 127.0.0.1 and localhost.
func (s *Server) certificate() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	s.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})))
}

func (s *Server) configure() {
	s.t.Helper()
	if err := os.Mkdir(filepath.Join(s.dir, "db"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.write("slapd.conf", fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/slapd.pid
TLSCertificateFile %[1]s/ca.pem
TLSCertificateKeyFile %[1]s/key.pem
sizelimit 500
allow bind_anon_cred bind_anon_dn
database mdb
suffix "%[2]s"
rootdn "%[3]s"
rootpw %[4]s
directory %[1]s/db
maxsize 67108864
dbnosync
index objectClass,cn,sn,uid,member,memberUid eq
access to attrs=userPassword by anonymous auth by * none
access to * by * read
`, s.dir, Suffix, RootDN, RootPassword))
}

// Up starts the server (again).
func (s *Server) Up() {
	s.t.Helper()
	var out bytes.Buffer
	s.cmd = exec.Command(s.bin, "-d", "0", "-f", filepath.Join(s.dir, "slapd.conf"), "-h", s.URL+" "+s.TLSURL) //nolint:gosec // a path of this package
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	until := time.Now().Add(30 * time.Second)
	for {
		c, err := ldap.DialURL(s.URL)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(until) {
			s.t.Fatalf("slapd does not answer: %v\n%s", err, out.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Down stops the server; its entries stay.
func (s *Server) Down() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *Server) do(f func(c *ldap.Conn) error) {
	s.t.Helper()
	c, err := ldap.DialURL(s.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Bind(RootDN, RootPassword); err != nil {
		s.t.Fatal(err)
	}
	if err := f(c); err != nil {
		s.t.Fatal(err)
	}
}

// Add adds an entry; attributes are pairs, repeated for more values.
func (s *Server) Add(dn string, attrs ...string) {
	s.t.Helper()
	s.do(func(c *ldap.Conn) error {
		values := map[string][]string{}
		var names []string
		for i := 0; i+1 < len(attrs); i += 2 {
			if values[attrs[i]] == nil {
				names = append(names, attrs[i])
			}
			values[attrs[i]] = append(values[attrs[i]], attrs[i+1])
		}
		r := ldap.NewAddRequest(dn, nil)
		for _, n := range names {
			r.Attribute(n, values[n])
		}
		return c.Add(r)
	})
}

// Set replaces an attribute; without values it goes.
func (s *Server) Set(dn, attr string, values ...string) {
	s.t.Helper()
	s.do(func(c *ldap.Conn) error {
		r := ldap.NewModifyRequest(dn, nil)
		r.Replace(attr, values)
		return c.Modify(r)
	})
}

// Delete removes an entry.
func (s *Server) Delete(dn string) {
	s.t.Helper()
	s.do(func(c *ldap.Conn) error { return c.Del(ldap.NewDelRequest(dn, nil)) })
}

// User adds a person; enabled is kept in employeeType (TRUE or FALSE), as the
// schema has no attribute of its own for it. It returns the entry's name.
func (s *Server) User(cn, name, password, enabled string) string {
	s.t.Helper()
	dn := "cn=" + ldap.EscapeDN(cn) + ",ou=Users," + Suffix
	attrs := []string{"objectClass", "inetOrgPerson", "cn", cn, "sn", name, "mail", "someone@corp.test"}
	if password != "" {
		attrs = append(attrs, "userPassword", password)
	}
	if enabled != "" {
		attrs = append(attrs, "employeeType", enabled)
	}
	s.Add(dn, attrs...)
	return dn
}

// Group adds a groupOfNames of entries.
func (s *Server) Group(cn, name string, members ...string) string {
	s.t.Helper()
	dn := "cn=" + ldap.EscapeDN(cn) + ",ou=UserGroups," + Suffix
	attrs := []string{"objectClass", "groupOfNames", "cn", cn, "ou", name}
	for _, m := range members {
		attrs = append(attrs, "member", m)
	}
	s.Add(dn, attrs...)
	return dn
}

// Options are [ldap] options for the server, as the API takes them. The timeouts
// are for a machine that is slow: a server that is down refuses at once.
func (s *Server) Options() map[string]any {
	return map[string]any{
		"url": s.URL, "user": RootDN, "password": RootPassword, "suffix": Suffix, "user_enabled_attribute": "employeeType", "connection_timeout": 30.0,
		"pool_connection_timeout": 30.0,
	}
}
