package nodes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask sends a request to a control node's public listener.
func (m *machine) ask(method, path, token, body string) (int, http.Header, string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+m.address+":5000"+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
		r.Header.Set("X-Subject-Token", token)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return res.StatusCode, res.Header, string(b)
}

// login gets a token of the admin.
func (m *machine) login() string {
	m.t.Helper()
	b, err := os.ReadFile(m.path("secrets.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	var s struct {
		Admin string `json:"admin_password"`
	}
	if err := json.Unmarshal(b, &s); err != nil {
		m.t.Fatal(err)
	}
	body := fmt.Sprintf(`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "domain": {"id": "default"}, "password": %q}}},
		"scope": {"project": {"name": "admin", "domain": {"id": "default"}}}}}`, s.Admin)
	code, header, text := m.ask("POST", "/identity/v3/auth/tokens", "", body)
	if code != 201 {
		m.t.Fatalf("log in at %s: %d %s", m.name, code, text)
	}
	return header.Get("X-Subject-Token")
}

// keys are identity's key files.
func (m *machine) keys() map[string]string {
	m.t.Helper()
	out := map[string]string{}
	for _, dir := range []string{"fernet-keys", "credential-keys"} {
		files, err := os.ReadDir(m.path(dir))
		if err != nil {
			m.t.Fatal(err)
		}
		for _, f := range files {
			if f.Name() == ".lock" {
				continue
			}
			b, err := os.ReadFile(m.path(dir, f.Name()))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				m.t.Fatal(err)
			}
			out[dir+"/"+f.Name()] = string(b)
		}
	}
	return out
}

func TestPostgreSQL(t *testing.T) { run(t, os.Getenv("TROPO_TEST_POSTGRES")) }

func TestMariaDB(t *testing.T) { run(t, os.Getenv("TROPO_TEST_MYSQL")) }

// run is the life of a cloud of two control nodes and one without that role.
func run(t *testing.T, server string) {
	s := newSite(t, server)
	c1, c2, h1 := s.machine("c1", 1), s.machine("c2", 2), s.machine("h1", 21)
	c1.founder = true
	c1.up()
	c2.joins(c1, "control")
	h1.joins(c1, "storage")
	c2.up()
	h1.up()

	steps := []struct {
		name string
		f    func(t *testing.T)
	}{
		{"list", func(t *testing.T) { listed(t, c1, c2, h1) }},
		{"refusals", func(t *testing.T) { refusals(t, c1) }},
		{"secrets", func(t *testing.T) { noSecrets(t, c1, h1) }},
		{"tokens", func(t *testing.T) { tokensEverywhere(t, c1, c2) }},
		{"rotation", func(t *testing.T) { rotation(t, c1, c2) }},
		{"rolling restart", func(t *testing.T) { rolling(t, c1, c2) }},
		{"database", func(t *testing.T) { databaseAway(t, c1, c2) }},
		{"failover", func(t *testing.T) { failover(t, c1, c2, h1) }},
		{"removal", func(t *testing.T) { removal(t, c2, h1) }},
		{"concurrent start", func(t *testing.T) { concurrentStart(t, c1, c2) }},
	}
	for _, x := range steps {
		if !t.Run(x.name, func(t *testing.T) {
			for _, m := range s.all {
				m.t = t
			}
			s.t = t
			x.f(t)
		}) {
			break
		}
	}
	s.t = t
}

func listed(t *testing.T, c1, c2, h1 *machine) {
	for _, c := range []*machine{c1, c2} {
		c.eventually("the list on "+c.name, func() error {
			out := c.must("node", "list")
			for _, m := range []*machine{c1, c2, h1} {
				if !strings.Contains(out, m.address) || strings.Count(out, " up ") != 3 {
					return errors.New(out)
				}
			}
			return nil
		})
	}
	if out, err := h1.run("node", "list"); err == nil || !strings.Contains(out, "no control node") {
		t.Errorf("node list on a node without the role control: %s", out)
	}
	// To join again changes nothing.
	before, err := os.ReadFile(h1.path("node.json"))
	if err != nil {
		t.Fatal(err)
	}
	h1.stop()
	if out, err := h1.join(c1, "nonsense", "storage"); err != nil {
		t.Errorf("join again: %s", out)
	}
	after, err := os.ReadFile(h1.path("node.json"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("join again changed node.json: %v", err)
	}
	h1.up()
}

func refusals(t *testing.T, c1 *machine) {
	used := c1.must("node", "token", "--roles", "storage")
	first, second := c1.machine("h8", 28), c1.machine("h9", 29)
	if out, err := first.join(c1, used, "storage"); err != nil {
		t.Fatal(out)
	}
	good := c1.must("node", "token", "--roles", "storage")
	flip := map[byte]string{'0': "1"}[good[len(good)-1]]
	if flip == "" {
		flip = "0"
	}
	for what, x := range map[string]struct{ token, roles, says string }{
		"a used token":            {used, "storage", "expired or was used"},
		"another role":            {good, "compute", "does not allow the role compute"},
		"another authority":       {good[:len(good)-1] + flip, "storage", "not the cloud that made the token"},
		"no token":                {"hello", "storage", "This is no join token"},
		"control without a token": {good, "control", "does not allow the role control"},
	} {
		if out, err := second.join(c1, x.token, x.roles); err == nil || !strings.Contains(out, x.says) {
			t.Errorf("%s: %v %s", what, err, out)
		}
	}
	if _, err := os.Stat(second.path("node.json")); err == nil {
		t.Error("a machine that was refused believes that it has joined")
	}
	c1.must("node", "remove", "h8")
}

// noSecrets: a node without the role control has nothing that would open more
// than it needs.
func noSecrets(t *testing.T, c1, h1 *machine) {
	secrets := map[string]string{}
	for name, key := range c1.keys() {
		secrets[key] = name
	}
	b, err := os.ReadFile(c1.path("secrets.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Admin    string            `json:"admin_password"`
		Services map[string]string `json:"service_passwords"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	secrets[doc.Admin] = "the admin's password"
	for user, p := range doc.Services {
		secrets[p] = "the password of " + user
	}
	ca, err := os.ReadFile(c1.path("pki", "ca-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	secrets[strings.Split(string(ca), "\n")[1]] = "the authority's key"
	secrets[c1.proxy.addr()] = "the database's address"
	seen := 0
	err = filepath.WalkDir(h1.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it runs: a file may have been replaced meanwhile
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		seen++
		for secret, name := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s has %s", path, name)
			}
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is for others to read: %v", path, info.Mode())
		}
		return err
	})
	if err != nil || seen < 5 {
		t.Errorf("%d files: %v", seen, err)
	}
}

func tokensEverywhere(t *testing.T, c1, c2 *machine) {
	token := c1.login()
	for _, c := range []*machine{c1, c2} {
		if code, _, text := c.ask("GET", "/image/v2/images", token, ""); code != 200 {
			t.Fatalf("a token of c1 at %s: %d %s", c.name, code, text)
		}
	}
	if code, _, text := c2.ask("DELETE", "/identity/v3/auth/tokens", token, ""); code != 204 {
		t.Fatalf("revoke: %d %s", code, text)
	}
	// Caches hold for 10 s; the bus is faster.
	began := time.Now()
	c1.eventually("the revoked token at c1", func() error {
		if code, _, _ := c1.ask("GET", "/image/v2/images", token, ""); code != 401 {
			return fmt.Errorf("got %d", code)
		}
		return nil
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a revoked token was taken for %s", took)
	}
}

func rotation(t *testing.T, c1, c2 *machine) {
	token := c1.login()
	c1.eventually("the same keys", func() error { return sameKeys(c1, c2) })
	for round, c := range []*machine{c2, c1, c2} {
		before := c.keys()
		c.must("identity", "fernet-rotate")
		c.must("identity", "credential-rotate")
		if fmt.Sprint(before) == fmt.Sprint(c.keys()) {
			t.Fatal("nothing was rotated")
		}
		c1.eventually(fmt.Sprint("rotation ", round), func() error { return sameKeys(c1, c2) })
		fresh := c.login()
		for _, at := range []*machine{c1, c2} {
			if code, _, text := at.ask("GET", "/identity/v3/auth/tokens", fresh, ""); code != 200 {
				t.Errorf("a token of %s at %s after rotation %d: %d %s", c.name, at.name, round, code, text)
			}
		}
		if code, _, _ := c1.ask("GET", "/identity/v3/auth/tokens", token, ""); code != 200 && round == 0 {
			t.Errorf("an old token after one rotation: %d", code)
		}
	}
	// One that was away catches up.
	c2.stop()
	c1.must("identity", "fernet-rotate")
	c2.up()
	c1.eventually("the keys of one that was away", func() error { return sameKeys(c1, c2) })
}

func sameKeys(a, b *machine) error {
	if x, y := fmt.Sprint(a.keys()), fmt.Sprint(b.keys()); x != y {
		return errors.New("they differ")
	}
	return nil
}

// rolling: each control node is restarted while clients ask one or the other;
// no request fails that is sent to the other once.
func rolling(t *testing.T, c1, c2 *machine) {
	token := c1.login()
	ctx, cancel := context.WithCancel(t.Context())
	var asked, again, failed atomic.Int64
	var rounds [4]atomic.Int64 // of each client
	var wg sync.WaitGroup
	for i := range rounds {
		wg.Go(func() {
			at := []*machine{c1, c2}
			for n := i; ctx.Err() == nil; n++ {
				rounds[i].Add(1)
				path := []string{"/identity/v3/projects", "/image/v2/images", "/networking/v2.0/networks", "/compute/v2.1/servers"}[n%4]
				asked.Add(1)
				code, _, text := at[n%2].ask("GET", path, token, "")
				if code == 200 {
					continue
				}
				again.Add(1)
				if code, _, other := at[1-n%2].ask("GET", path, token, ""); code != 200 {
					failed.Add(1)
					t.Errorf("%s: %s, then %d %s", path, text, code, other)
				}
			}
		})
	}
	for _, c := range []*machine{c1, c2} {
		c.stop()
		c.up()
		c.eventually("health", func() error {
			if code, _, text := c.ask("GET", "/healthcheck", "", ""); code != 200 {
				return fmt.Errorf("%d %s", code, text)
			}
			return nil
		})
		// Who was sent to the other one has asked it before that one stops.
		for i := range rounds {
			before := rounds[i].Load()
			c.eventually("a client's next request", func() error {
				if rounds[i].Load() == before {
					return errors.New("none yet")
				}
				return nil
			})
		}
	}
	cancel()
	wg.Wait()
	t.Logf("%d requests, %d sent again, %d failed", asked.Load(), again.Load(), failed.Load())
	if asked.Load() < 20 {
		t.Errorf("%d requests are too few to tell", asked.Load())
	}
}

// databaseAway: without the database every request ends soon with a clear 503,
// and all goes on when it is back.
func databaseAway(t *testing.T, c1, c2 *machine) {
	token := c1.login()
	well := func() error {
		for _, c := range []*machine{c1, c2} {
			for _, path := range []string{"/image/v2/images", "/compute/v2.1/servers", "/networking/v2.0/networks"} {
				if code, _, text := c.ask("GET", path, token, ""); code != 200 {
					return fmt.Errorf("%s: %d %s", c.name, code, text)
				}
			}
		}
		return nil
	}
	for _, x := range []struct {
		what      string
		held, cut bool
		limit     time.Duration
	}{
		{"cut", false, true, 10 * time.Second},
		{"silent", true, false, 50 * time.Second},
	} {
		c1.eventually("before", well)
		c1.proxy.set(x.held, x.cut)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 40 {
			c := []*machine{c1, c2}[i%2]
			wg.Go(func() {
				if code, _, text := c.ask("GET", "/image/v2/images", token, ""); code != 503 || !strings.Contains(text, "try again") {
					t.Errorf("%s: %d %s", x.what, code, text)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took > x.limit {
			t.Errorf("%s: answered after %s", x.what, took)
		}
		c1.eventually("told to balancers", func() error { // an answer holds for a second
			if code, _, _ := c1.ask("GET", "/healthcheck", "", ""); code != 503 {
				return fmt.Errorf("%s: healthy without a database: %d", x.what, code)
			}
			return nil
		})
		c1.proxy.set(false, false)
		began = time.Now()
		c1.eventually("after", well)
		t.Logf("%s: well again after %s", x.what, time.Since(began).Round(time.Millisecond))
	}
}

// failover: with one control node killed, its peer answers and the other nodes
// go on, also those that start meanwhile.
func failover(t *testing.T, c1, c2, h1 *machine) {
	token := c1.login()
	c1.kill()
	if code, _, text := c2.ask("GET", "/compute/v2.1/servers", token, ""); code != 200 {
		t.Errorf("a token of the dead one: %d %s", code, text)
	}
	if code, _, text := c2.ask("POST", "/networking/v2.0/networks", c2.login(), `{"network": {"name": "n"}}`); code != 201 {
		t.Errorf("a network: %d %s", code, text)
	}
	h1.kill()
	h1.up()
	since := time.Now().UTC()
	c2.eventually("heartbeat at the one that lives", func() error {
		for line := range strings.SplitSeq(c2.must("node", "list"), "\n") {
			f := strings.Fields(line)
			if len(f) > 4 && f[0] == "h1" {
				if seen, err := time.Parse(time.RFC3339, f[4]); err == nil && seen.After(since) {
					return nil
				}
			}
		}
		return errors.New("none yet")
	})
	c1.up()
}

func removal(_ *testing.T, c2, h1 *machine) {
	c2.must("node", "remove", "h1")
	h1.eventually("the removed node knows", func() error {
		if b, _ := os.ReadFile(h1.path("log", "tropo.log")); !bytes.Contains(b, []byte("not part of the cloud")) && !bytes.Contains(b, []byte("certificate")) {
			return errors.New("its log says nothing")
		}
		return nil
	})
	h1.stop()
}

// concurrentStart: what each does at its start suffers the other's.
func concurrentStart(_ *testing.T, c1, c2 *machine) {
	c1.stop()
	c2.stop()
	c1.founder = false // its place and the database are known without flags
	c1.begin()
	c2.begin()
	c1.ready()
	c2.ready()
	c2.login()
}

func TestOneControlNodeOnSQLite(t *testing.T) {
	if os.Getenv("TROPO_E2E") == "" {
		t.Skip("end-to-end tests run by make e2e")
	}
	s := &site{t: t, net: newSiteNet()}
	s.config = filepath.Join(t.TempDir(), "empty.conf")
	if err := os.WriteFile(s.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c1 := s.machine("c1", 1)
	c1.founder = true
	c1.up()
	if out, err := c1.run("node", "token", "--roles", "control"); err == nil || !strings.Contains(out, "SQLite") || !strings.Contains(out, "PostgreSQL") {
		t.Errorf("%v %s", err, out)
	}
	h1 := s.machine("h1", 21)
	h1.joins(c1, "storage")
	h1.up()
	// The first node's place is known without its flags.
	c1.stop()
	c1.founder = false
	c1.up()
	if out := c1.must("node", "list"); !strings.Contains(out, h1.address) {
		t.Error(out)
	}
}
