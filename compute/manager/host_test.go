package manager_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
)

func withData(data []byte) *computetest.Peers {
	p := computetest.NewPeers()
	p.Data[computetest.ImageID] = data
	return p
}

// TestWaitsForPorts lets ports come up late, never, and never where that is
// fatal.
func TestWaitsForPorts(t *testing.T) {
	disk := bytes.Repeat([]byte{0}, 1<<20)
	t.Run("late", func(t *testing.T) {
		peers := withData(disk)
		peers.PortStatus = "BUILD"
		c := cloud(t, computetest.Options{Peers: peers, Images: true})
		c.Flavor()
		id := c.Boot("one", nil)
		c.Wait("the server waits", func() bool {
			s, err := c.Store.Server(t.Context(), id)
			return err == nil && s.TaskState == compute.TaskSpawning && guests(c) == 1
		})
		peers.Do(func() {
			for _, p := range peers.Ports {
				p["status"] = "ACTIVE"
			}
		})
		// The event makes the wait end at once.
		c.Must(200, computetest.Service, "", "POST", "/v2.1/os-server-external-events", m{"events": []m{{"server_uuid": id, "name": "network-vif-plugged"}}})
		c.Status(id, "ACTIVE")
	})
	for name, fatal := range map[string]bool{"never": false, "never and fatal": true} {
		t.Run(name, func(t *testing.T) {
			peers := withData(disk)
			peers.PortStatus = "BUILD"
			c := cloud(t, computetest.Options{Peers: peers, Images: true, Config: func(o *compute.Config) { o.PlugTimeout, o.PlugFatal = 50*time.Millisecond, fatal }})
			c.Flavor()
			id := c.Boot("one", nil)
			want := "ACTIVE"
			if fatal {
				want = "ERROR"
			}
			c.Status(id, want)
			if fatal && guests(c) != 0 {
				t.Error("the guest was left behind")
			}
		})
	}
}

func guests(c *computetest.Cloud) int {
	n := 0
	for _, d := range c.Drivers {
		list, err := d.List(c.T.Context())
		if err != nil {
			c.T.Error(err)
		}
		n += len(list)
	}
	return n
}

// TestRefusesHostileImages covers threats 1 to 3: what is inspected on the host
// is the data, whatever the image says it is.
func TestRefusesHostileImages(t *testing.T) {
	qcow := append([]byte("QFI\xfb\x00\x00\x00\x03\x00\x00\x00\x00\x00\x00\x00\x70\x00\x00\x00\x0b"), bytes.Repeat([]byte{0}, 4096)...)
	for name, data := range map[string][]byte{
		"a qcow2 with a backing file":      qcow,
		"a vmdk that names a file of ours": []byte("# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"/etc/shadow\" 0\n"),
		"nothing":                          {},
	} {
		t.Run(name, func(t *testing.T) {
			c := cloud(t, computetest.Options{Peers: withData(data), Images: true})
			c.Flavor()
			id := c.Boot("one", nil)
			c.Status(id, "ERROR")
			owner := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/"+id, nil)
			if msg, _ := owner.Get("server", "fault", "message").(string); !strings.Contains(msg, "refused") {
				t.Errorf("fault: %v", owner.Get("server", "fault"))
			}
			if guests(c) != 0 {
				t.Error("the guest was made")
			}
		})
	}
}

// TestFollowsGuests brings the states of servers in line with what guests do by
// themselves.
func TestFollowsGuests(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	d := c.Drivers["host1"]
	if err := d.PowerOff(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	c.Status(id, "SHUTOFF")
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"os-start": nil})
	c.Status(id, "ACTIVE")
	// The process goes, the guest stays.
	c.Stop()
	c.Start()
	c.Ready()
	if s := c.Status(id, "ACTIVE"); s.Get("server", "OS-EXT-STS:power_state") != 1.0 {
		t.Errorf("after the restart: %s", s.Text)
	}
}

// TestBirth reads the steps by which a server was made.
func TestBirth(t *testing.T) {
	c := cloud(t, computetest.Options{Peers: withData(bytes.Repeat([]byte{0}, 1<<20)), Images: true})
	c.Flavor()
	for i, note := range []any{nil, "cached"} {
		id := c.Boot("one", nil)
		c.Status(id, "ACTIVE")
		a := c.Must(200, computetest.Admin, "", "GET", "/v2.1/servers/"+id+"/tropo-birth", nil)
		seen := map[float64]m{}
		for _, s := range a.Get("birth", "steps").([]any) {
			seen[s.(m)["step"].(float64)] = s.(m)
		}
		for n := 1.0; n <= 29; n++ {
			if seen[n] == nil {
				t.Errorf("step %v is missing", n)
			}
		}
		if seen[20]["note"] != note {
			t.Errorf("server %d: the image was %v, want %v", i, seen[20]["note"], note)
		}
		c.Must(404, computetest.Foreign, "", "GET", "/v2.1/servers/"+id+"/tropo-birth", nil)
	}
}
