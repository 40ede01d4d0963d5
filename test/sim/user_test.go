package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/tropocloud/tropo/rest"
)

type doc = map[string]any

// user asks for things, one after the other.
type user struct {
	w     *world
	n     int
	token string
	id    string // in places of the dice

	created int
}

// known is what users were told there is. All of it is in order of creation.
type known struct {
	mu       sync.Mutex
	servers  []string
	ports    []string
	floating []string
	images   []string
	gone     map[string]bool // whose deletion was accepted
	unsure   map[string]bool // whose deletion got no answer
	atMost   map[string]int  // servers of names that were asked for with a key
}

func (k *known) add(list *[]string, id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if id != "" {
		*list = append(*list, id)
	}
}

func (k *known) pick(list *[]string, n int) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var alive []string
	for _, id := range *list {
		if !k.gone[id] {
			alive = append(alive, id)
		}
	}
	if len(alive) == 0 {
		return ""
	}
	return alive[n%len(alive)]
}

func (k *known) once(name string, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.atMost == nil {
		k.atMost = map[string]int{}
	}
	k.atMost[name] = most
}

// deleted notes the answer to a request to delete: one whose answer was lost is
// not found the second time, and without any answer nobody knows.
func (k *known) deleted(id string, code int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case code == http.StatusNoContent || code == http.StatusNotFound:
		k.gone[id] = true
	case code == 0 || code >= http.StatusInternalServerError:
		k.unsure[id] = true
	}
}

// once sends a request to one of the control processes.
func (u *user) once(ctx context.Context, place, method, path string, body any, key string) (int, doc, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	r, rates := u.w.dice.at(place), u.w.rates()
	target := u.w.pick(r.IntN(1000))
	if target == nil {
		return 0, nil, errors.New("connection refused")
	}
	ctx, cancel := context.WithTimeout(ctx, 70*time.Second)
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, method, "http://cloud"+path, http.NoBody)
	req.RequestURI = ""
	req.Header.Set("X-Auth-Token", u.token)
	req.Header.Set("Content-Type", "application/json")
	if u.token == tokenAdmin && strings.Contains(path, "/compute/") {
		req.Header.Set("OpenStack-API-Version", "compute 2.53")
	}
	if strings.Contains(string(text), "createImage") {
		req.Header.Set("OpenStack-API-Version", "compute 2.45") // it answers the image's id
	}
	if key != "" {
		req.Header.Set(rest.IdempotencyKey, key)
	}
	n := r.IntN(1000)
	if n < rates.HTTPLose {
		u.w.journal.fault("lost: %s %s", method, path)
		return 0, nil, errReset
	}
	res, err := target.serve(ctx, req, text)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	var out doc
	_ = json.NewDecoder(res.Body).Decode(&out) // some have none
	if n < rates.HTTPLose+rates.HTTPLoseAnswer {
		u.w.journal.fault("lost the answer: %s %s", method, path)
		return 0, nil, errReset
	}
	return res.StatusCode, out, nil
}

// ask sends a request, and again where no answer came or the service was not
// available, as clients do.
func (u *user) ask(ctx context.Context, method, path string, body any) (int, doc) {
	return u.askOnce(ctx, method, path, body, "")
}

// askOnce is ask with an Idempotency-Key.
func (u *user) askOnce(ctx context.Context, method, path string, body any, key string) (int, doc) {
	for try := 0; ; try++ {
		code, out, err := u.once(ctx, "user "+u.id+" "+method, method, path, body, key)
		if err == nil && code != http.StatusServiceUnavailable && code != http.StatusBadGateway {
			return code, out
		}
		if try == 3 || ctx.Err() != nil {
			return code, out
		}
		_ = sleep(ctx, time.Duration(1<<try)*time.Second)
	}
}

// settle waits for a server to be idle, as tools do.
func (u *user) settle(ctx context.Context, id string) {
	for range 40 {
		code, out := u.ask(ctx, http.MethodGet, "/compute/v2.1/servers/"+id, nil)
		s, _ := out["server"].(doc)
		if code != http.StatusOK || s["OS-EXT-STS:task_state"] == nil && s["status"] != "BUILD" || ctx.Err() != nil {
			return
		}
		_ = sleep(ctx, 2*time.Second)
	}
}

// plain are the actions without an argument worth drawing.
var plain = map[string]any{
	"stop": doc{"os-stop": nil}, "start": doc{"os-start": nil}, "confirm": doc{"confirmResize": nil}, "revert": doc{"revertResize": nil},
	"pause": doc{"pause": nil}, "unpause": doc{"unpause": nil}, "suspend": doc{"suspend": nil}, "resume": doc{"resume": nil},
	"shelve": doc{"shelve": nil}, "unshelve": doc{"unshelve": nil}, "snapshot": doc{"createImage": doc{"name": "snapshot"}},
	"rebuild": doc{"rebuild": doc{"imageRef": imageID}},
}

// do does one operation of the plan.
func (u *user) do(ctx context.Context, o op) {
	k := &u.w.known
	server := k.pick(&k.servers, o.N[0])
	switch o.Kind {
	case "create":
		u.create(ctx, o)
	case "port":
		code, out := u.tell(ctx, "POST", "/networking/v2.0/ports", doc{"port": doc{"network_id": u.w.net.private, "name": "given"}})
		if code == http.StatusCreated {
			k.add(&k.ports, text(out, "port", "id"))
		}
	case "port-delete":
		if id := k.pick(&k.ports, o.N[0]); id != "" {
			code, _ := u.tell(ctx, "DELETE", "/networking/v2.0/ports/"+id, nil)
			k.deleted(id, code)
		}
	case "floating", "floating-move", "floating-delete":
		u.floating(ctx, o)
	case "disable", "enable":
		u.host(ctx, o)
	default:
		if server == "" {
			return
		}
		if o.Wait {
			u.settle(ctx, server)
		}
		u.act(ctx, o, server)
	}
}

// tell asks and notes it; now and then the same is asked twice at once.
func (u *user) tell(ctx context.Context, method, path string, body any) (int, doc) {
	return u.tellOnce(ctx, method, path, body, "")
}

// tellOnce is tell with an Idempotency-Key.
func (u *user) tellOnce(ctx context.Context, method, path string, body any, key string) (int, doc) {
	u.w.journal.mu.Lock()
	u.w.journal.ops++
	u.w.journal.mu.Unlock()
	var wg sync.WaitGroup
	safe := method != http.MethodPost || key != "" || strings.HasSuffix(path, "/action")
	if u.w.dice.at("repeat "+u.id).IntN(1000) < u.w.rates().UserRepeat && safe {
		wg.Go(func() {
			code, _, err := u.once(ctx, "user "+u.id+" again", method, path, body, key)
			u.w.journal.note("user %d: the same again: %d %v", u.n, code, err)
		})
	}
	in, _ := json.Marshal(body)
	u.w.journal.note("user %d: %s %s %s", u.n, method, path, in)
	code, out := u.askOnce(ctx, method, path, body, key)
	wg.Wait()
	answer, _ := json.Marshal(out)
	u.w.journal.note("user %d: %s %s: %d %.300s", u.n, method, path, code, answer)
	return code, out
}

func text(d doc, keys ...string) string {
	var at any = d
	for _, k := range keys {
		m, _ := at.(doc)
		at = m[k]
	}
	s, _ := at.(string)
	return s
}

func (u *user) create(ctx context.Context, o op) {
	k := &u.w.known
	u.created++
	name, most := fmt.Sprintf("s%d-%d", u.n, u.created), 1
	s := doc{"name": name, "flavorRef": fmt.Sprint(1 + o.N[1]%3), "imageRef": imageID, "networks": []doc{{"uuid": u.w.net.private}}}
	switch o.N[2] % 8 {
	case 0:
		s["networks"] = []doc{}
	case 1:
		s["networks"] = []doc{{"uuid": u.w.net.private}, {"uuid": u.w.net.private}}
	case 2, 3:
		if p := k.pick(&k.ports, o.N[2]); p != "" {
			s["networks"] = []doc{{"port": p}}
		}
	case 4:
		s["min_count"], s["max_count"] = 1, 2
		most = 2
	case 5:
		s["availability_zone"] = "nova"
	}
	key := ""
	if o.N[0]%2 == 0 {
		key = "key of " + name
		k.once(name, most)
	}
	code, out := u.tellOnce(ctx, "POST", "/compute/v2.1/servers", doc{"server": s}, key)
	if code == http.StatusAccepted {
		k.add(&k.servers, text(out, "server", "id"))
	}
}

func (u *user) act(ctx context.Context, o op, id string) {
	k := &u.w.known
	path := "/compute/v2.1/servers/" + id
	switch o.Kind {
	case "delete":
		code, _ := u.tell(ctx, "DELETE", path, nil)
		k.deleted(id, code)
	case "reboot":
		u.tell(ctx, "POST", path+"/action", doc{"reboot": doc{"type": []string{"SOFT", "HARD"}[o.N[1]%2]}})
	case "resize":
		u.tell(ctx, "POST", path+"/action", doc{"resize": doc{"flavorRef": fmt.Sprint(1 + o.N[1]%3)}})
	case "attach":
		in := doc{"net_id": u.w.net.private}
		if p := k.pick(&k.ports, o.N[1]); p != "" && o.N[2]%2 == 0 {
			in = doc{"port_id": p}
		}
		u.tell(ctx, "POST", path+"/os-interface", doc{"interfaceAttachment": in})
	case "detach":
		_, out := u.ask(ctx, "GET", path+"/os-interface", nil)
		list, _ := out["interfaceAttachments"].([]any)
		if len(list) == 0 {
			return
		}
		port, _ := list[o.N[1]%len(list)].(doc)
		u.tell(ctx, "DELETE", path+"/os-interface/"+text(port, "port_id"), nil)
	default:
		_, out := u.tell(ctx, "POST", path+"/action", plain[o.Kind])
		k.add(&k.images, text(out, "image_id"))
	}
}

func (u *user) floating(ctx context.Context, o op) {
	k := &u.w.known
	path := "/networking/v2.0/floatingips"
	var port any
	if o.N[1]%3 > 0 {
		if _, out := u.ask(ctx, "GET", "/networking/v2.0/ports?network_id="+u.w.net.private, nil); out != nil {
			var ids []string
			list, _ := out["ports"].([]any)
			for _, p := range list {
				if d, _ := p.(doc); !strings.HasPrefix(text(d, "device_owner"), "network:") {
					ids = append(ids, text(d, "id"))
				}
			}
			if len(ids) > 0 {
				port = ids[o.N[2]%len(ids)]
			}
		}
	}
	if o.Kind == "floating" {
		code, out := u.tell(ctx, "POST", path, doc{"floatingip": doc{"floating_network_id": u.w.net.public, "port_id": port}})
		if code == http.StatusCreated {
			k.add(&k.floating, text(out, "floatingip", "id"))
		}
		return
	}
	id := k.pick(&k.floating, o.N[0])
	if id == "" {
		return
	}
	if o.Kind == "floating-move" {
		u.tell(ctx, "PUT", path+"/"+id, doc{"floatingip": doc{"port_id": port}})
		return
	}
	code, _ := u.tell(ctx, "DELETE", path+"/"+id, nil)
	k.deleted(id, code)
}

// host disables and enables the service of a host, as operators do.
func (u *user) host(ctx context.Context, o op) {
	op := &user{w: u.w, n: u.n, token: tokenAdmin, id: u.id}
	_, out := op.ask(ctx, "GET", "/compute/v2.1/os-services?binary=nova-compute", nil)
	list, _ := out["services"].([]any)
	if len(list) == 0 {
		return
	}
	s, _ := list[o.N[0]%len(list)].(doc)
	op.tell(ctx, "PUT", "/compute/v2.1/os-services/"+text(s, "id"), doc{"status": o.Kind + "d"})
}
