package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/placement/v1/resourceproviders"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/api"
	"github.com/tropocloud/tropo/placement/manager"
	"github.com/tropocloud/tropo/placement/store"
	"github.com/tropocloud/tropo/rest"
	"github.com/tropocloud/tropo/rest/resttest"
)

// personas is a validator whose tokens are the names of roles.
type personas struct{}

const project = "9520f97991f04bcc8e6f0e0d2a1f1b5c"

func (personas) Validate(_ context.Context, token string) (*auth.Identity, error) {
	role, scope, _ := strings.Cut(token, "@")
	id := &auth.Identity{Token: token, User: auth.Ref{ID: role}, ExpiresAt: time.Now().Add(time.Hour)}
	switch scope {
	case "":
		id.Project = auth.Ref{ID: project}
	case "system":
		id.System = true
	default:
		id.Project = auth.Ref{ID: scope}
	}
	switch role {
	case "admin", "service", "member", "reader":
		id.Roles = []auth.Ref{{Name: role}}
		if role == "member" {
			id.Roles = append(id.Roles, auth.Ref{Name: "reader"})
		}
		return id, nil
	}
	return nil, fault.Unauthenticatedf("no such token")
}

func service(t testing.TB, d *db.DB) *rest.API {
	t.Helper()
	s, err := store.New(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	const nobody = "00000000-0000-0000-0000-000000000000"
	m, err := manager.New(t.Context(), manager.Options{Store: s, Config: placement.Config{
		IncompleteConsumerProjectID: nobody, IncompleteConsumerUserID: nobody, MaxCandidates: -1,
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(m, api.Options{Validator: personas{}, EnforceScope: true})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestExchanges(t *testing.T) {
	resttest.Run(t, "testdata", func(t *testing.T) (http.Handler, map[string]string) {
		return service(t, dbtest.New(t)), map[string]string{
			"admin": "admin", "service": "service", "reader": "reader", "project": project,
		}
	})
}

func TestEveryRouteHasAnExchange(t *testing.T) {
	a := service(t, dbtest.New(t))
	resttest.Covered(t, a, "testdata")
}

type client struct {
	t testing.TB
	h http.Handler
}

func (c client) do(token, version, method, path, body string) *httptest.ResponseRecorder {
	c.t.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("OpenStack-API-Version", "placement "+version)
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, req)
	return w
}

func (c client) ok(method, path, body string) string {
	c.t.Helper()
	token := "admin"
	if path == "/reshaper" {
		token = "service"
	}
	w := c.do(token, "1.39", method, path, body)
	if w.Code >= 300 {
		c.t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Body.String()
}

// TestPersonas calls every route as every persona. Who may is upstream's
// default: administrators and services all (services alone the reshaper),
// readers their own project's usage.
func TestPersonas(t *testing.T) {
	a := service(t, dbtest.New(t))
	c := client{t, a}
	vars := strings.NewReplacer("{uuid}", "6d2e4a1c-0d4e-4f0e-9d39-8c1e3b1fb0a1", "{consumer}", "6d2e4a1c-0d4e-4f0e-9d39-8c1e3b1fb0a2", "{class}", "VCPU", "{name}", "CUSTOM_X")
	for _, r := range a.Routes() {
		if r.Open || r.Until != (rest.Version{}) {
			continue
		}
		path := vars.Replace(r.Path)
		if r.Path == "/usages" {
			path += "?project_id=" + project
		}
		for persona, want := range map[string]bool{
			"admin":              r.Path != "/reshaper",
			"service":            true,
			"reader":             r.Path == "/usages",
			"member":             r.Path == "/usages",
			"reader@elsewhere":   false,
			"admin@system":       false,
			"member@another-one": false,
		} {
			// A body that no schema refuses, as that is looked at first.
			body := map[string]string{
				"POST /resource_providers": `{"name": "x"}`, "PUT /resource_providers/{uuid}": `{"name": "x"}`,
				"POST /resource_providers/{uuid}/inventories":        `{"resource_class": "VCPU", "total": 1}`,
				"PUT /resource_providers/{uuid}/inventories":         `{"inventories": {}, "resource_provider_generation": 0}`,
				"PUT /resource_providers/{uuid}/inventories/{class}": `{"total": 1, "resource_provider_generation": 0}`,
				"PUT /resource_providers/{uuid}/aggregates":          `{"aggregates": [], "resource_provider_generation": 0}`,
				"PUT /resource_providers/{uuid}/traits":              `{"traits": [], "resource_provider_generation": 0}`,
				"POST /resource_classes":                             `{"name": "CUSTOM_Y"}`,
				"POST /allocations":                                  `{"6d2e4a1c-0d4e-4f0e-9d39-8c1e3b1fb0a2": {"allocations": {}, "project_id": "p", "user_id": "u", "consumer_generation": null, "consumer_type": "X"}}`,
				"PUT /allocations/{consumer}":                        `{"allocations": {}, "project_id": "p", "user_id": "u", "consumer_generation": null, "consumer_type": "X"}`,
				"POST /reshaper":                                     `{"inventories": {}, "allocations": {}}`,
			}[r.Method+" "+r.Path]
			w := c.do(persona, "1.39", r.Method, path, body)
			if allowed := w.Code != http.StatusForbidden && w.Code != http.StatusUnauthorized; allowed != want {
				t.Errorf("%s %s as %s: %d, allowed should be %v", r.Method, r.Path, persona, w.Code, want)
			}
		}
		if w := c.do("nobody", "1.39", r.Method, path, ""); w.Code != http.StatusUnauthorized {
			t.Errorf("%s %s without a valid token: %d", r.Method, r.Path, w.Code)
		}
	}
}

// TestVersions looks that each route begins to exist with its version.
func TestVersions(t *testing.T) {
	a := service(t, dbtest.New(t))
	c := client{t, a}
	for _, x := range []struct{ method, path, before, since string }{
		{"GET", "/resource_classes", "1.1", "1.2"},
		{"GET", "/traits", "1.5", "1.6"},
		{"GET", "/usages?project_id=p", "1.8", "1.9"},
		{"GET", "/allocation_candidates?resources=VCPU:1", "1.9", "1.10"},
		{"GET", "/allocation_candidates?resources=VCPU:1&limit=1", "1.15", "1.16"},
		{"GET", "/allocation_candidates?resources=VCPU:1&required=COMPUTE_NODE", "1.16", "1.17"},
		{"GET", "/allocation_candidates?resources=VCPU:1&required=!COMPUTE_NODE", "1.21", "1.22"},
		{"GET", "/allocation_candidates?resources1=VCPU:1", "1.24", "1.25"},
		{"GET", "/allocation_candidates?resources_A=VCPU:1", "1.32", "1.33"},
		{"GET", "/allocation_candidates?resources=VCPU:1&root_required=COMPUTE_NODE", "1.34", "1.35"},
		{"GET", "/allocation_candidates?resources_A=VCPU:1&same_subtree=_A", "1.35", "1.36"},
		{"GET", "/allocation_candidates?resources=VCPU:1&required=in:COMPUTE_NODE,HW_CPU_X86_AVX", "1.38", "1.39"},
		{"GET", "/resource_providers?required=COMPUTE_NODE", "1.17", "1.18"},
		{"GET", "/resource_providers?resources=VCPU:1", "1.3", "1.4"},
	} {
		if w := c.do("admin", x.before, x.method, x.path, ""); w.Code < 400 {
			t.Errorf("%s %s at %s: %d", x.method, x.path, x.before, w.Code)
		}
		if w := c.do("admin", x.since, x.method, x.path, ""); w.Code != http.StatusOK {
			t.Errorf("%s %s at %s: %d %s", x.method, x.path, x.since, w.Code, w.Body)
		}
	}
}

// TestGophercloud works through gophercloud's package of this API.
func TestGophercloud(t *testing.T) {
	dbtest.Each(t, testGophercloud)
}

func testGophercloud(t *testing.T, d *db.DB) {
	srv := httptest.NewServer(rest.Mount("/placement", service(t, d)))
	defer srv.Close()
	p := &gophercloud.ProviderClient{TokenID: "admin"}
	c := &gophercloud.ServiceClient{ProviderClient: p, Endpoint: srv.URL + "/placement/", Type: "placement", Microversion: "1.20"}
	ctx := t.Context()
	made, err := resourceproviders.Create(ctx, c, resourceproviders.CreateOpts{Name: "host"}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"resource_provider_generation": %d, "inventories": {"VCPU": {"total": 4}}}`, made.Generation)
	client{t, srv.Config.Handler}.ok("PUT", "/placement/resource_providers/"+made.UUID+"/inventories", body)
	pages, err := resourceproviders.List(c, resourceproviders.ListOpts{Resources: "VCPU:2"}).AllPages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	list, err := resourceproviders.ExtractResourceProviders(pages)
	if err != nil || len(list) != 1 || list[0].UUID != made.UUID {
		t.Fatalf("list: %v %v", list, err)
	}
	inv, err := resourceproviders.GetInventories(ctx, c, made.UUID).Extract()
	if err != nil || inv.Inventories["VCPU"].Total != 4 || inv.ResourceProviderGeneration != 1 {
		t.Errorf("inventories: %+v %v", inv, err)
	}
	if _, err := resourceproviders.GetUsages(ctx, c, made.UUID).Extract(); err != nil {
		t.Error(err)
	}
	if _, err := resourceproviders.GetTraits(ctx, c, made.UUID).Extract(); err != nil {
		t.Error(err)
	}
	if _, err := resourceproviders.GetAllocations(ctx, c, made.UUID).Extract(); err != nil {
		t.Error(err)
	}
	http := client{t, srv.Config.Handler}
	for version, want := range map[string]string{"1.10": `"resource_provider": {"uuid"`, "1.12": `{"allocations": {`, "1.34": `"mappings": {`} {
		w := http.do("admin", version, "GET", "/placement/allocation_candidates?resources=VCPU:2", "")
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("candidates at %s have no %s: %s", version, want, w.Body)
		}
	}
	const consumer = "/placement/allocations/6d2e4a1c-0d4e-4f0e-9d39-8c1e3b1fb0a2"
	http.ok("PUT", consumer, fmt.Sprintf(`{"allocations": {%q: {"resources": {"VCPU": 2}}}, "project_id": "p", "user_id": "u", "consumer_generation": null, "consumer_type": "INSTANCE"}`, made.UUID))
	if got := http.ok("GET", "/placement/usages?project_id=p", ""); got != `{"usages":{"INSTANCE":{"VCPU":2,"consumer_count":1}}}` {
		t.Errorf("usage: %s", got)
	}
	http.ok("DELETE", consumer, "")
	if err := resourceproviders.Delete(ctx, c, made.UUID).ExtractErr(); err != nil {
		t.Error(err)
	}
}
