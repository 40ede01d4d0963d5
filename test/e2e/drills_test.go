package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

// drill provokes one saga through the public API.
type drill struct {
	saga string
	name string
	// from brings the cloud to where the saga can begin.
	from func()
	// act begins the saga. Its answer may be lost in the crash.
	act func()
	// done reports whether what was asked for is there.
	done func() bool
	// after removes what done left behind, if anything.
	after func()
	// back: deleting the server cancels the saga, which then undoes itself.
	back bool
	// rare drills are variants of a saga, for the whole matrix only.
	rare bool
	// elsewhere names the test that drills a saga which one machine cannot.
	elsewhere string
}

// drills keeps what the drills work with: one server, mostly.
type drills struct {
	c                *cloud
	trigger, env     string
	began            time.Time // of the last restart
	image            string
	flavors          [2]string
	network, another string
	id               string // the server's; "" where there is none
	made             string // what an act made, by name
	count            int
}

func newDrills(c *cloud, trigger, env string) *drills {
	c.t.Helper()
	return &drills{
		c: c, trigger: trigger, env: env, image: c.guestImage(), flavors: [2]string{c.flavor(128), c.flavor(160)},
		network: c.tenantNetwork("n", "10.20.0.0/24"), another: c.tenantNetwork("o", "10.21.0.0/24"),
	}
}

func (x *drills) t() *testing.T { return x.c.t }

// table says how each saga is provoked.
func (x *drills) table() []drill {
	is := func(status string) func() bool { return func() bool { return x.is(status) } }
	from := func(status string) func() { return func() { x.bring(status) } }
	action := func(body m) func() { return func() { x.action(body) } }
	power := func(name, before string, body m, then string, rare bool) drill {
		return drill{saga: "server-power", name: name, from: from(before), act: action(body), done: is(then), rare: rare}
	}
	return []drill{
		{saga: "image-import", name: "image-import", from: x.stage, act: x.importImage, done: x.imported, after: x.dropImage},
		{saga: "server-build", name: "server-build", from: x.clear, act: x.create, done: x.created, back: true},
		// Before anything restarts the guest: its console tells that it is up.
		{saga: "interface-attach", name: "interface-attach", from: func() { x.interfaces(1) }, act: x.attach, done: func() bool { return x.has(2) }, back: true},
		{saga: "interface-detach", name: "interface-detach", from: func() { x.interfaces(2) }, act: x.detach, done: func() bool { return x.has(1) }},
		power("reboot", "ACTIVE", m{"reboot": m{"type": "HARD"}}, "ACTIVE", false),
		power("pause", "ACTIVE", m{"pause": nil}, "PAUSED", true),
		power("unpause", "PAUSED", m{"unpause": nil}, "ACTIVE", true),
		power("suspend", "ACTIVE", m{"suspend": nil}, "SUSPENDED", true),
		power("resume", "SUSPENDED", m{"resume": nil}, "ACTIVE", true),
		power("stop", "ACTIVE", m{"os-stop": nil}, "SHUTOFF", true),
		power("start", "SHUTOFF", m{"os-start": nil}, "ACTIVE", true),
		{saga: "server-snapshot", name: "server-snapshot", from: from("ACTIVE"), act: x.snapshot, done: x.snapshotted, after: x.dropImage, back: true},
		{saga: "server-rebuild", name: "server-rebuild", from: from("ACTIVE"), act: func() { x.action(m{"rebuild": m{"imageRef": x.image}}) }, done: is("ACTIVE")},
		{saga: "server-resize", name: "server-resize", from: from("ACTIVE"), act: x.resize, done: is("VERIFY_RESIZE"), back: true},
		{saga: "server-resize-revert", name: "server-resize-revert", from: from("VERIFY_RESIZE"), act: action(m{"revertResize": nil}), done: is("ACTIVE")},
		{saga: "server-resize-confirm", name: "server-resize-confirm", from: from("VERIFY_RESIZE"), act: action(m{"confirmResize": nil}), done: is("ACTIVE")},
		{saga: "server-shelve", name: "server-shelve", from: from("ACTIVE"), act: action(m{"shelve": nil}), done: is("SHELVED_OFFLOADED"), back: true},
		{saga: "server-unshelve", name: "server-unshelve", from: from("SHELVED_OFFLOADED"), act: action(m{"unshelve": nil}), done: is("ACTIVE"), back: true},
		{saga: "server-rescue", name: "server-rescue", from: from("ACTIVE"), act: action(m{"rescue": nil}), done: is("RESCUE"), back: true},
		{saga: "server-unrescue", name: "server-unrescue", from: from("RESCUE"), act: action(m{"unrescue": nil}), done: is("ACTIVE")},
		{saga: "server-delete", name: "server-delete", from: from("ACTIVE"), act: x.remove, done: x.removed},
		{saga: "server-evacuate", name: "server-evacuate", elsewhere: "test/chaos: it takes a second host"},
	}
}

// server is what the API tells of the server.
type server struct {
	Status string
	Task   *string `json:"OS-EXT-STS:task_state"`
	Flavor struct{ ID string }
	Fault  m
}

func (x *drills) show() *server {
	var s struct{ Server server }
	if _, err := x.c.try(x.c.compute, "GET", "servers/"+x.id, nil, &s); err != nil {
		return nil
	}
	return &s.Server
}

// is reports whether the server has a status and nothing is being done to it.
func (x *drills) is(status string) bool {
	s := x.show()
	if s != nil && s.Status == "ERROR" && status != "ERROR" {
		x.t().Fatalf("the server is in ERROR: %v", s.Fault)
	}
	return s != nil && s.Status == status && s.Task == nil
}

func (x *drills) action(body m) {
	if _, err := x.c.try(x.c.compute, "POST", "servers/"+x.id+"/action", body, nil); err != nil {
		x.t().Logf("the answer is lost: %v", err)
	}
}

// bring makes the server have a status, from whatever it has.
func (x *drills) bring(status string) {
	x.t().Helper()
	if x.id == "" {
		x.create()
		x.c.until("the server is ACTIVE", 5*time.Minute, x.created)
	}
	for range 4 {
		s := x.show()
		if s == nil {
			x.t().Fatal("the server is gone")
		}
		next := m(nil)
		then := "ACTIVE"
		switch {
		case s.Status == status:
			x.c.until("the server is "+status, 5*time.Minute, func() bool { return x.is(status) })
			return
		case s.Status == "VERIFY_RESIZE":
			next = m{"confirmResize": nil}
		case s.Status == "SHELVED_OFFLOADED":
			next = m{"unshelve": nil}
		case s.Status == "PAUSED":
			next = m{"unpause": nil}
		case s.Status == "SUSPENDED":
			next = m{"resume": nil}
		case s.Status == "RESCUE":
			next = m{"unrescue": nil}
		case s.Status == "SHUTOFF":
			next = m{"os-start": nil}
		case status == "VERIFY_RESIZE":
			next, then = m{"resize": m{"flavorRef": x.otherFlavor(s)}}, status
		case status == "SHELVED_OFFLOADED":
			next, then = m{"shelve": nil}, status
		case status == "PAUSED":
			next, then = m{"pause": nil}, status
		case status == "SUSPENDED":
			next, then = m{"suspend": nil}, status
		case status == "RESCUE":
			next, then = m{"rescue": nil}, status
		case status == "SHUTOFF":
			next, then = m{"os-stop": nil}, status
		default:
			x.t().Fatalf("no way from %s to %s", s.Status, status)
		}
		x.c.call(x.c.compute, "POST", "servers/"+x.id+"/action", next, nil)
		x.c.until("the server is "+then, 5*time.Minute, func() bool { return x.is(then) })
	}
	x.t().Fatalf("the server does not become %s", status)
}

func (x *drills) otherFlavor(s *server) string {
	if s.Flavor.ID == x.flavors[0] {
		return x.flavors[1]
	}
	return x.flavors[0]
}

// clear deletes the server.
func (x *drills) clear() {
	if x.id != "" {
		x.remove()
		x.c.until("the server is gone", 5*time.Minute, x.removed)
	}
}

func (x *drills) create() {
	_, err := x.c.try(x.c.compute, "POST", "servers", m{"server": m{"name": "s", "imageRef": x.image, "flavorRef": x.flavors[0], "networks": []m{{"uuid": x.network}}}}, nil)
	if err != nil {
		x.t().Logf("the answer is lost: %v", err)
	}
}

// created finds the server, whose id the lost answer had.
func (x *drills) created() bool {
	if x.id == "" {
		x.id = x.named("s")
	}
	return x.id != "" && x.is("ACTIVE")
}

// named finds the one server of a name.
func (x *drills) named(name string) string {
	var list struct{ Servers []struct{ ID, Name string } }
	if _, err := x.c.try(x.c.compute, "GET", "servers", nil, &list); err != nil {
		return ""
	}
	for _, s := range list.Servers {
		if s.Name == name {
			return s.ID
		}
	}
	return ""
}

func (x *drills) remove() {
	if _, err := x.c.try(x.c.compute, "DELETE", "servers/"+x.id, nil, nil); err != nil {
		x.t().Logf("the answer is lost: %v", err)
	}
}

func (x *drills) removed() bool {
	if x.c.call(x.c.compute, "GET", "servers/"+x.id, nil, nil, 200, 404) != 404 {
		return false
	}
	x.id = ""
	return true
}

func (x *drills) resize() { x.action(m{"resize": m{"flavorRef": x.otherFlavor(x.show())}}) }

// ports are the server's interfaces.
func (x *drills) ports() (ids []string) {
	var list struct {
		Attachments []struct {
			Port string `json:"port_id"`
			Net  string `json:"net_id"`
		} `json:"interfaceAttachments"`
	}
	if _, err := x.c.try(x.c.compute, "GET", "servers/"+x.id+"/os-interface", nil, &list); err != nil {
		return nil
	}
	for _, a := range list.Attachments {
		if a.Net == x.another {
			ids = append(ids, a.Port) // the one to take away first
		}
	}
	for _, a := range list.Attachments {
		if a.Net != x.another {
			ids = append(ids, a.Port)
		}
	}
	return ids
}

func (x *drills) has(n int) bool { return len(x.ports()) == n && x.is("ACTIVE") }

// interfaces gives the server that many, and lets its operating system come
// up, without which it gives none back.
func (x *drills) interfaces(n int) {
	x.t().Helper()
	x.bring("ACTIVE")
	if n == 2 || whole() { // something will be taken away
		x.c.until("the guest is up", 10*time.Minute, func() bool {
			var out struct{ Output string }
			_, err := x.c.try(x.c.compute, "POST", "servers/"+x.id+"/action", m{"os-getConsoleOutput": m{}}, &out)
			return err == nil && strings.Contains(out.Output, "login:")
		})
	}
	for len(x.ports()) < n {
		x.attach()
	}
	for len(x.ports()) > n {
		have := len(x.ports())
		x.detach()
		x.c.until("the interface is gone", 5*time.Minute, func() bool { return len(x.ports()) == have-1 })
	}
}

func (x *drills) attach() {
	if _, err := x.c.try(x.c.compute, "POST", "servers/"+x.id+"/os-interface", m{"interfaceAttachment": m{"net_id": x.another}}, nil); err != nil {
		x.t().Logf("the answer is lost: %v", err)
	}
}

func (x *drills) detach() {
	if _, err := x.c.try(x.c.compute, "DELETE", "servers/"+x.id+"/os-interface/"+x.ports()[0], nil, nil); err != nil {
		x.t().Logf("the answer is lost: %v", err)
	}
}

func (x *drills) snapshot() {
	x.count++
	x.made = fmt.Sprintf("snapshot-%d", x.count)
	x.action(m{"createImage": m{"name": x.made}})
}

// imageOf finds an image by name.
func (x *drills) imageOf(name string) (id, status string) {
	var list struct{ Images []struct{ ID, Status string } }
	if _, err := x.c.try(x.c.image, "GET", "images?name="+name, nil, &list); err != nil || len(list.Images) != 1 {
		return "", ""
	}
	return list.Images[0].ID, list.Images[0].Status
}

func (x *drills) snapshotted() bool {
	_, status := x.imageOf(x.made)
	return status == "active" && x.is("ACTIVE")
}

func (x *drills) dropImage() {
	x.t().Helper()
	id, _ := x.imageOf(x.made)
	x.c.call(x.c.image, "DELETE", "images/"+id, nil, nil)
}

// stage makes an image whose data waits to be imported.
func (x *drills) stage() {
	x.t().Helper()
	x.count++
	x.made = fmt.Sprintf("import-%d", x.count)
	var i struct{ ID string }
	x.c.call(x.c.image, "POST", "images", m{"name": x.made, "disk_format": "raw", "container_format": "bare"}, &i)
	res, err := x.c.image.Request(context.Background(), http.MethodPut, x.c.image.ServiceURL("images", i.ID, "stage"), &gophercloud.RequestOpts{
		RawBody: bytes.NewReader(make([]byte, 64<<10)), OkCodes: []int{204}, MoreHeaders: map[string]string{"Content-Type": "application/octet-stream"},
	})
	if err != nil {
		x.t().Fatal(err)
	}
	_ = res.Body.Close()
}

func (x *drills) importImage() {
	id, _ := x.imageOf(x.made)
	if _, err := x.c.try(x.c.image, "POST", "images/"+id+"/import", m{"method": m{"name": "glance-direct"}}, nil); err != nil {
		x.t().Logf("the answer is lost: %v", err)
	}
}

func (x *drills) imported() bool {
	_, status := x.imageOf(x.made)
	return status == "active"
}
