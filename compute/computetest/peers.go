package computetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/rest"
)

type m = map[string]any

// Peers are pretended identity, image, network and placement services behind
// one handler. They keep what was made in memory, so that a test can look for
// leftovers.
type Peers struct {
	mu          sync.Mutex
	mux         *http.ServeMux
	Networks    map[string]m
	Subnets     map[string]m
	Ports       map[string]m
	Groups      map[string]m
	Floatings   map[string]m
	Images      map[string]m
	Data        map[string][]byte
	Providers   map[string]*Provider
	Allocations map[string]*Allocation
	// Fail, if set, is asked before each request; another status than 0 is
	// the answer. Hosts ask at any time: a running service's is set in Do.
	Fail func(method, path string) int
	// Other, if set, may name a handler that answers instead: a real service.
	Other func(r *http.Request) http.Handler
	// PortStatus is what new and bound ports have; "ACTIVE" if empty.
	PortStatus string
	addresses  int
	once       map[string]answer // to Idempotency-Keys
}

// Provider is a resource provider.
type Provider struct {
	Name       string
	Generation int
	Inventory  map[string]map[string]any
	Traits     []string
	Aggregates []string
}

// Allocation is what a consumer holds.
type Allocation struct {
	By         map[string]map[string]int // provider → class → amount
	Generation int
	Project    string
	User       string
}

// The ids of what NewPeers makes.
const (
	NetworkID = "11111111-1111-4111-8111-111111111111"
	SubnetID  = "22222222-2222-4222-8222-222222222222"
	ImageID   = "33333333-3333-4333-8333-333333333333"
	GroupID   = "44444444-4444-4444-8444-444444444444"
	Project   = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	Other     = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	User      = "cccccccccccccccccccccccccccccccc"
)

// NewPeers makes the services with a network, a subnet, a security group and an
// image of Project.
func NewPeers() *Peers {
	p := &Peers{
		mux:       http.NewServeMux(),
		Networks:  map[string]m{NetworkID: {"id": NetworkID, "name": "net", "project_id": Project, "shared": false, "router:external": false, "mtu": 1442, "subnets": []string{SubnetID}}},
		Subnets:   map[string]m{SubnetID: {"id": SubnetID, "network_id": NetworkID, "cidr": "10.0.0.0/16", "gateway_ip": "10.0.0.1", "ip_version": 4, "enable_dhcp": true, "dns_nameservers": []string{"9.9.9.9"}, "host_routes": []any{}}},
		Ports:     map[string]m{},
		Groups:    map[string]m{GroupID: {"id": GroupID, "name": "default", "project_id": Project, "description": "", "security_group_rules": []any{}}},
		Floatings: map[string]m{},
		Images: map[string]m{ImageID: {
			"id": ImageID, "name": "cirros", "status": "active", "owner": Project, "size": 1 << 20, "min_disk": 0, "min_ram": 0,
			"disk_format": "qcow2", "container_format": "bare", "visibility": "public", "os_distro": "cirros",
		}},
		once: map[string]answer{}, Data: map[string][]byte{}, Providers: map[string]*Provider{}, Allocations: map[string]*Allocation{},
	}
	p.identity()
	p.image()
	p.network()
	p.placement()
	p.proxied()
	return p
}

// ServeHTTP implements http.Handler.
func (p *Peers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	fail, other := p.Fail, p.Other
	p.mu.Unlock()
	if fail != nil {
		if code := fail(r.Method, r.URL.Path); code != 0 {
			http.Error(w, `{"message": "made to fail"}`, code)
			return
		}
	}
	if other != nil {
		if h := other(r); h != nil {
			h.ServeHTTP(w, r)
			return
		}
	}
	p.mux.ServeHTTP(w, r)
}

// Do runs f while no request is answered.
func (p *Peers) Do(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// answer is what a request got.
type answer struct {
	code int
	text []byte
}

// on registers a handler that returns a status and a document. It answers an
// Idempotency-Key as it did before.
func (p *Peers) on(pattern string, f func(r *http.Request, in m) (int, any)) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		in := m{}
		if r.Body != nil && !strings.HasSuffix(r.URL.Path, "/file") && r.Method != http.MethodPatch {
			_ = json.NewDecoder(r.Body).Decode(&in) // bodies are optional
		}
		p.mu.Lock()
		a, again := p.once[r.Header.Get(rest.IdempotencyKey)]
		if !again {
			code, out := f(r, in)
			if a.code = code; out != nil {
				a.text, _ = json.Marshal(out)
			}
			if key := r.Header.Get(rest.IdempotencyKey); key != "" && code < 300 {
				p.once[key] = a
			}
		}
		p.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.code)
		_, _ = w.Write(a.text)
	})
}

func (p *Peers) identity() {
	p.mux.HandleFunc("POST /identity/v3/auth/tokens", func(w http.ResponseWriter, _ *http.Request) {
		var catalog []m
		for typ, path := range map[string]string{"identity": "/identity/v3", "image": "/image", "network": "/networking", "placement": "/placement"} {
			catalog = append(catalog, m{"id": typ, "name": typ, "type": typ, "endpoints": []m{{"id": typ, "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": "http://cloud" + path}}})
		}
		w.Header().Set("X-Subject-Token", "service-token")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(m{"token": m{
			"user": m{"id": "nova", "name": "nova", "domain": m{"id": "default", "name": "Default"}}, "project": m{"id": "service", "name": "service", "domain": m{"id": "default", "name": "Default"}},
			"roles": []m{{"id": "admin", "name": "admin"}}, "methods": []string{"password"}, "catalog": catalog, "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z",
		}})
	})
	p.on("GET /identity/v3/projects/{id}", func(r *http.Request, _ m) (int, any) {
		if id := r.PathValue("id"); id == Project || id == Other {
			return 200, m{"project": m{"id": id}}
		}
		return 404, m{"error": m{"code": 404, "message": "no such project"}}
	})
}

func (p *Peers) image() {
	p.on("GET /image/v2/images/{id}", func(r *http.Request, _ m) (int, any) {
		if i := p.Images[r.PathValue("id")]; i != nil {
			return 200, i
		}
		return 404, nil
	})
	p.mux.HandleFunc("GET /image/v2/images/{id}/file", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		data := p.Data[r.PathValue("id")]
		p.mu.Unlock()
		_, _ = w.Write(data)
	})
	p.on("POST /image/v2/images", func(_ *http.Request, in m) (int, any) {
		id, _ := in["id"].(string)
		if p.Images[id] != nil {
			return 409, nil
		}
		in["status"], in["size"], in["created_at"] = "queued", nil, fmt.Sprintf("2026-01-01T00:00:%02dZ", len(p.Images))
		p.Images[id] = in
		return 201, in
	})
	p.on("PATCH /image/v2/images/{id}", func(r *http.Request, _ m) (int, any) { return 200, p.Images[r.PathValue("id")] })
	p.on("PUT /image/v2/images/{id}/file", func(r *http.Request, _ m) (int, any) {
		i := p.Images[r.PathValue("id")]
		if i == nil {
			return 404, nil
		}
		i["status"], i["size"] = "active", 1
		return 204, nil
	})
	p.on("DELETE /image/v2/images/{id}", func(r *http.Request, _ m) (int, any) {
		if p.Images[r.PathValue("id")] == nil {
			return 404, nil
		}
		delete(p.Images, r.PathValue("id"))
		return 204, nil
	})
}

// list answers a collection, filtered by the query.
func (p *Peers) list(path, key string, all map[string]m) {
	p.on("GET /networking/v2.0/"+path, func(r *http.Request, _ m) (int, any) {
		out := []m{}
	next:
		for _, v := range all {
			for k, want := range r.URL.Query() {
				have, known := v[k]
				if k == "fields" || !known {
					continue
				}
				if !slices.Contains(want, fmt.Sprint(have)) {
					continue next
				}
			}
			out = append(out, v)
		}
		return 200, m{key: out}
	})
	p.on("GET /networking/v2.0/"+path+"/{id}", func(r *http.Request, _ m) (int, any) {
		if v := all[r.PathValue("id")]; v != nil {
			return 200, m{strings.TrimSuffix(key, "s"): v}
		}
		return 404, m{"NeutronError": m{"type": "NotFound", "message": "not found", "detail": ""}}
	})
}

func (p *Peers) network() {
	p.list("networks", "networks", p.Networks)
	p.list("subnets", "subnets", p.Subnets)
	p.list("ports", "ports", p.Ports)
	p.list("security-groups", "security_groups", p.Groups)
	p.list("floatingips", "floatingips", p.Floatings)
	p.on("POST /networking/v2.0/ports", func(_ *http.Request, in m) (int, any) {
		return 201, m{"port": p.newPort(in["port"].(m))}
	})
	p.on("PUT /networking/v2.0/ports/{id}", func(r *http.Request, in m) (int, any) {
		v := p.Ports[r.PathValue("id")]
		if v == nil {
			return 404, nil
		}
		for k, x := range in["port"].(m) {
			v[k] = x
		}
		if list, ok := v["fixed_ips"].([]any); ok {
			for _, f := range list {
				if f.(m)["ip_address"] == nil {
					p.addresses++
					f.(m)["ip_address"] = fmt.Sprintf("10.0.%d.%d", p.addresses/250, p.addresses%250+2)
				}
			}
		}
		p.bind(v)
		return 200, m{"port": v}
	})
	p.on("DELETE /networking/v2.0/ports/{id}", func(r *http.Request, _ m) (int, any) {
		if p.Ports[r.PathValue("id")] == nil {
			return 404, nil
		}
		delete(p.Ports, r.PathValue("id"))
		return 204, nil
	})
}

// AddPort makes a port of Project that no server has, and returns its id.
func (p *Peers) AddPort() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.newPort(m{"network_id": NetworkID, "project_id": Project, "device_id": "", "device_owner": ""})["id"].(string)
}

func (p *Peers) newPort(in m) m {
	p.addresses++
	ip := fmt.Sprintf("10.0.%d.%d", p.addresses/250, p.addresses%250+2)
	if f, ok := in["fixed_ips"].([]any); ok && len(f) > 0 {
		ip, _ = f[0].(m)["ip_address"].(string)
	}
	id := uuid.NewString()
	in["id"], in["name"] = id, ""
	in["mac_address"] = fmt.Sprintf("fa:16:3e:00:%02x:%02x", p.addresses/256, p.addresses%256)
	in["fixed_ips"] = []m{{"subnet_id": SubnetID, "ip_address": ip}}
	if in["security_groups"] == nil {
		in["security_groups"] = []string{GroupID}
	}
	p.Ports[id] = in
	p.bind(in)
	return in
}

func (p *Peers) bind(v m) {
	v["status"], v["binding:vif_type"] = "DOWN", "unbound"
	if h, _ := v["binding:host_id"].(string); h != "" {
		v["binding:vif_type"], v["binding:vnic_type"], v["binding:vif_details"] = "ovs", "normal", m{"bridge_name": "br-int", "datapath_type": "system"}
		if v["status"] = p.PortStatus; p.PortStatus == "" {
			v["status"] = "ACTIVE"
		}
	}
}
