package api

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/agent"
	"github.com/tropocloud/tropo/network/driver/fake"
	"github.com/tropocloud/tropo/network/manager"
	"github.com/tropocloud/tropo/network/store"
	"github.com/tropocloud/tropo/rest"
)

// personas are tokens that name who they are: "admin", "member", "reader" of
// one project, "other" of another, "service".
type personas struct{}

func (personas) Validate(_ context.Context, token string) (*auth.Identity, error) {
	i := &auth.Identity{Token: token, User: auth.Ref{ID: token}, Project: auth.Ref{ID: project("p1")}}
	roles := map[string][]string{"admin": {"admin", "member", "reader"}, "member": {"member", "reader"}, "reader": {"reader"}, "other": {"member", "reader"}, "service": {"service"}}[token]
	if roles == nil {
		return nil, fault.Unauthenticatedf("The request you have made requires authentication.")
	}
	for _, r := range roles {
		i.Roles = append(i.Roles, auth.Ref{Name: r})
	}
	switch token {
	case "other":
		i.Project.ID = project("p2")
	case "admin":
		i.Project.ID = project("ad")
	case "service":
		i.Project.ID = project("5e")
	}
	return i, nil
}

// project is an id in identity's form.
func project(s string) string {
	return strings.Repeat("0", 30) + map[string]string{"p1": "01", "p2": "02", "ad": "ad", "5e": "5e"}[s]
}

// service is a network service on a fake dataplane.
type service struct {
	t       testing.TB
	handler *rest.API
	m       *manager.Manager
	store   *store.Store
	driver  *fake.Driver
	agent   *agent.Agent
}

func testConfig() network.Config {
	return network.Config{
		Host: "host1", GlobalMTU: 1500, DNSDomain: "openstacklocal.", BaseMAC: "fa:16:3e:00:00:00", MaxDNS: 5, MaxHostRoutes: 20, MaxRoutes: 30,
		MaxAddressPairs: 10, MaxFixedIPs: 5, MaxPage: 1000, AgentDownTime: 75, Zone: "nova", ExternalPhysical: "public", FlatNetworks: []string{"*"},
		VLANRanges: []string{"public:100:102"},
		Quota:      network.Quotas{Network: 100, Subnet: 100, Port: 500, Router: 10, FloatingIP: 50, SecurityGroup: 10, SecurityGroupRule: 100, SubnetPool: -1, RBACPolicy: 10, AddressGroup: 10},
	}
}

func testPlane() network.Dataplane {
	return network.Dataplane{VIFType: "ovs", Bridge: "br-int", DatapathType: "netdev", NetworkTypes: []string{"geneve", "flat", "vlan"}, PhysicalNetworks: []string{"public"}, TunnelMTU: 1442, PhysicalMTU: 1500}
}

func newService(t testing.TB) *service { return newServiceOn(t, dbtest.New(t)) }

func newServiceOn(t testing.TB, d *db.DB) *service {
	t.Helper()
	ctx := context.Background()
	st, err := store.New(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	m, err := manager.New(ctx, manager.Options{Store: st, Config: testConfig(), Dataplane: testPlane(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(m, Options{Validator: personas{}, Log: slog.Default()})
	if err != nil {
		t.Fatal(err)
	}
	drv := fake.New()
	ag := agent.New(agent.Options{Rows: st, Manager: m, Driver: drv, Wake: m.Wake(), Log: log, Domain: "openstacklocal.", External: "public"})
	if err := m.Heartbeat(ctx, "host1"); err != nil {
		t.Fatal(err)
	}
	return &service{t: t, handler: h, m: m, store: st, driver: drv, agent: ag}
}

// do sends a request and returns status and document.
func (s *service) do(token, method, path, body string) (int, map[string]any) {
	s.t.Helper()
	match, path, ok := strings.Cut(path, " ") // "revision_number=1 /v2.0/…"
	if !ok {
		match, path = "", match
	}
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	r.Header.Set("X-Auth-Token", token)
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	var doc map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			s.t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w.Code, doc
}

// want sends a request that must be answered with the status, and returns the
// object in the answer.
func (s *service) want(code int, token, method, path, body string) map[string]any {
	s.t.Helper()
	got, doc := s.do(token, method, path, body)
	if got != code {
		s.t.Fatalf("%s %s %s\n%s\nstatus %d, want %d: %v", token, method, path, body, got, code, doc)
	}
	for _, v := range doc {
		if m, ok := v.(map[string]any); ok && len(doc) == 1 {
			return m
		}
	}
	return doc
}

// refused sends a request that must be answered with this Neutron error.
func (s *service) refused(code int, typ, token, method, path, body string) {
	s.t.Helper()
	got, doc := s.do(token, method, path, body)
	e, _ := doc["NeutronError"].(map[string]any)
	if got != code || typ != "" && e["type"] != typ {
		s.t.Fatalf("%s %s %s\n%s\nstatus %d %v, want %d %s", token, method, path, body, got, doc, code, typ)
	}
}

// make creates an object and returns its id.
func (s *service) make(token, path, body string) string {
	s.t.Helper()
	id, _ := s.want(http.StatusCreated, token, "POST", "/v2.0/"+path, body)["id"].(string)
	return id
}

// items lists objects.
func (s *service) items(token, path string) []map[string]any {
	s.t.Helper()
	code, doc := s.do(token, "GET", path, "")
	if code != http.StatusOK {
		s.t.Fatalf("GET %s: %d %v", path, code, doc)
	}
	var out []map[string]any
	for k, v := range doc {
		list, ok := v.([]any)
		if !ok || strings.HasSuffix(k, "_links") {
			continue
		}
		for _, x := range list {
			m, _ := x.(map[string]any)
			out = append(out, m)
		}
	}
	return out
}

// settle lets the agent work until nothing is due.
func (s *service) settle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		n, _, err := s.agent.Step(ctx)
		if err != nil {
			s.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}
