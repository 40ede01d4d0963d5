package app

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/fault"
)

// placed is a process that knows its place.
func placed(t *testing.T, dir string, change func(c *Config)) (*System, error) {
	t.Helper()
	state, err := OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &System{state: state, host: "here"}
	s.o.Config.Bus.URL = "inproc:"
	change(&s.o.Config)
	s.member, err = s.newMember()
	return s, err
}

func TestAloneWithoutAddress(t *testing.T) {
	dir := t.TempDir()
	s, err := placed(t, dir, func(*Config) {})
	if err != nil || !s.member.alone() || !s.has(cluster.Compute) || s.place != nil || s.o.Config.Bus.URL != "inproc:" {
		t.Errorf("%+v, %v", s.member, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node.json")); err == nil {
		t.Error("a machine alone keeps a place")
	}
	if _, err := placed(t, dir, func(c *Config) { c.Node.Roles = []string{"compute"} }); !fault.Is(err, fault.Invalid) {
		t.Errorf("a compute node that has not joined: %v", err)
	}
}

func TestFounderKeepsItsPlace(t *testing.T) {
	dir := t.TempDir()
	first := func(c *Config) {
		c.Node.ManagementAddress, c.Node.Roles, c.Host = "10.0.0.1", []string{"control"}, "c1"
		c.Database.Connection = "postgres://db/%s"
	}
	if _, err := placed(t, dir, first); err != nil {
		t.Fatal(err)
	}
	s, err := placed(t, dir, func(*Config) {})
	if err != nil {
		t.Fatal(err)
	}
	if s.host != "c1" && s.host != "here" || s.member.Management != netip.MustParseAddr("10.0.0.1") || s.has(cluster.Compute) ||
		s.o.Config.Database.Connection != "postgres://db/%s" || s.o.Config.Bus.URL != "" {
		t.Errorf("without flags: %s %+v %q", s.host, s.member, s.o.Config.Database.Connection)
	}
	s, err = placed(t, dir, func(c *Config) { c.Node.ManagementAddress = "10.0.0.2" })
	if err != nil || s.member.Management != netip.MustParseAddr("10.0.0.2") || s.o.Config.Database.Connection != "postgres://db/%s" {
		t.Errorf("with another address: %+v, %v", s.member, err)
	}
	for _, bad := range []string{"0.0.0.0", "host", "10.0.0.1/24"} {
		if _, err := placed(t, t.TempDir(), func(c *Config) { c.Node.ManagementAddress = bad }); !fault.Is(err, fault.Invalid) {
			t.Errorf("address %q: %v", bad, err)
		}
	}
}

func TestAgentKeepsNoSecrets(t *testing.T) {
	state, err := OpenState(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &enrolment{User: "node-h1", Password: "p", Metadata: "m"}
	e.Node = cluster.NodeDocument{Name: "h1", Roles: []cluster.Role{cluster.Compute}, Management: netip.MustParseAddr("10.0.0.21")}
	e.Bus = "amqp://b"
	if err := state.writeEnrolment(e); err != nil {
		t.Fatal(err)
	}
	sec, err := state.loadSecrets("")
	if err != nil || sec.Admin != "" || sec.Services != nil || sec.Metadata != "m" || sec.CloudID == "" {
		t.Errorf("%+v, %v", sec, err)
	}
	again, err := state.loadSecrets("")
	if err != nil || again.CloudID != sec.CloudID {
		t.Errorf("%+v, %v", again, err)
	}
	s, err := placed(t, state.Dir, func(*Config) {})
	if err != nil || s.member.User != "node-h1" || s.host != "h1" || s.o.Config.Bus.URL != "amqp://b" || s.o.Config.Database.Connection != "" {
		t.Errorf("%+v, %v", s.member, err)
	}
	if u, ok := s.endpointOf("image"); !ok || u != "https://"+cluster.AnyControl+"/image" {
		t.Errorf("image at %s", u)
	}
	e.Partial = true
	if err := state.writeEnrolment(e); err != nil {
		t.Fatal(err)
	}
	if _, err := placed(t, state.Dir, func(*Config) {}); !fault.Is(err, fault.Conflict) {
		t.Errorf("half joined: %v", err)
	}
}

func TestPlaceLearns(t *testing.T) {
	doc := func(name, addr string) cluster.NodeDocument {
		return cluster.NodeDocument{Name: name, Management: netip.MustParseAddr(addr), Roles: []cluster.Role{cluster.Control}}
	}
	p := &place{e: &enrolment{}}
	p.e.Controls = []cluster.NodeDocument{doc("c1", "10.0.0.1")}
	m := p.e.Membership
	if _, news := p.learn(m); news {
		t.Error("the same is no news")
	}
	m.Controls = append(m.Controls, doc("c2", "10.0.0.2"))
	if e, news := p.learn(m); !news || len(e.Controls) != 2 || len(p.controls()) != 2 {
		t.Error("a second control node is news")
	}
	m.Controls = nil
	if _, news := p.learn(m); news || len(p.controls()) != 2 {
		t.Error("an answer without control nodes is none")
	}
}

func TestPublicAddresses(t *testing.T) {
	s := &System{common: "0.0.0.0:5000", own: map[string]string{"image": "0.0.0.0:9292"}}
	s.member.Node = cluster.Node{Management: netip.MustParseAddr("10.0.0.1"), Roles: cluster.Roles()}
	s.place = &place{e: &enrolment{Founder: true}}
	if u := s.public("compute"); u != "http://10.0.0.1:5000/compute/v2.1" {
		t.Error(u)
	}
	if u := s.public("image"); u != "http://10.0.0.1:9292" {
		t.Error(u)
	}
	s.o.Config.Node.PublicEndpoint = "https://cloud.example.org/"
	if u := s.public("image"); u != "https://cloud.example.org/image" {
		t.Error(u)
	}
	if u := s.endpoint("compute"); u != "http://0.0.0.0:5000/compute/v2.1" {
		t.Errorf("within the process: %s", u)
	}
	s.o.Config.Node.PublicEndpoint, s.own = "", nil
	s.place = &place{e: &enrolment{Membership: cluster.Membership{Public: "http://10.0.0.9:5000"}}}
	if u := s.public("compute"); u != "http://10.0.0.9:5000/compute/v2.1" {
		t.Errorf("of a control node that joined: %s", u)
	}
}

func TestRepositoriesFollow(t *testing.T) {
	dir := t.TempDir()
	write := func(files map[string]string) {
		t.Helper()
		if err := writeRepository(dir, "fernet/", files); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		var out []string
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if b, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && !strings.HasPrefix(e.Name(), ".") {
				out = append(out, e.Name()+"="+string(b))
			}
		}
		return strings.Join(out, " ")
	}
	write(map[string]string{"fernet/0": "a", "fernet/1": "b", "credential/0": "x"})
	first := read()
	if !strings.HasPrefix(first, "0=a 1=b") || strings.Contains(first, "x") {
		t.Error(first)
	}
	write(map[string]string{"fernet/0": "c", "fernet/2": "a"})
	if got := read(); !strings.HasPrefix(got, "0=c 2=a") {
		t.Error(got)
	}
	for _, bad := range []string{"fernet/../x", "fernet/01", "fernet/-1", "fernet/x"} {
		if err := writeRepository(dir, "fernet/", map[string]string{bad: "k"}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	for _, bad := range []string{"jws-public/1", "jws-public/.pem", "jws-public/../x.pem", "jws-public/a/b.pem", `jws-public/a\b.pem`} {
		if err := writeRepository(t.TempDir(), "jws-public/", map[string]string{bad: "k"}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	write(map[string]string{})
	if got := read(); !strings.HasPrefix(got, "0=c 2=a") {
		t.Errorf("a peer without keys emptied ours: %s", got)
	}
}

// TestKeysOfSignedTokensAreShared: whatever a node's own tokens are, it has the
// keys that the others sign with, and does not tell them to drop theirs.
func TestKeysOfSignedTokensAreShared(t *testing.T) {
	node := func(provider string) *System {
		state, err := OpenState(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s := &System{state: state}
		c := &s.o.Config.Identity
		c.Token.Provider = provider
		c.FernetTokens.KeyRepository, c.Credential.KeyRepository = "fernet-keys", "credential-keys"
		c.JWTTokens.PrivateKeyRepository, c.JWTTokens.PublicKeyRepository = "jws-keys/private", "jws-keys/public"
		return s
	}
	keys := func(s *System) *cluster.Keys {
		t.Helper()
		k, err := s.readKeys()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	signing := node("jws")
	files := map[string]string{"fernet-keys/0": "f", "jws-keys/private/private.pem": "p", "jws-keys/public/public.pem": "q", "jws-keys/public/old.pem": "o"}
	for name, text := range files {
		path := signing.state.Path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := keys(signing)
	for _, provider := range []string{"jws", "fernet"} {
		s := node(provider)
		if err := s.writeKeys(all); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if b, err := os.ReadFile(s.state.Path(name)); err != nil || string(b) != text {
				t.Errorf("%s, with %s: %q, %v", name, provider, b, err)
			}
		}
		if got := keys(s); got.Digest != all.Digest {
			t.Errorf("with %s the keys differ: %v", provider, got.Files)
		}
		if _, err := os.Stat(s.state.Path("credential-keys")); err == nil {
			t.Error("a folder was made for no keys")
		}
	}
	// A rotation takes the old pair's public key away everywhere.
	if err := os.Remove(signing.state.Path("jws-keys/public/old.pem")); err != nil {
		t.Fatal(err)
	}
	s := node("fernet")
	for _, k := range []*cluster.Keys{all, keys(signing)} {
		if err := s.writeKeys(k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(s.state.Path("jws-keys/public/old.pem")); err == nil {
		t.Error("an old public key is left")
	}
}
