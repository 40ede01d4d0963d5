package chaos

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"time"
)

type m = map[string]any

// tenant is what the load and the witnesses of a cloud need: images, flavors,
// networks with a way outside.
type tenant struct {
	c         *cloud
	guest     string // image that boots to SSH
	blank     string // image of an empty disk: a guest that costs next to nothing
	flavor    string // for the guest
	tiny      string // for the blank one
	external  string
	private   string
	subnet    string
	group     string // security group that lets in pings and SSH
	key       string // file of the private key for guests
	kinds     []kind // what the cloud can make
	ledger    *ledger
	prefix    string // begins the names of all that the load makes
	witnesses []*witness
}

// witness is a guest that is pinged from outside all the time.
type witness struct {
	name, id, host string
	fixed, public  netip.Addr
	boot           string // the kernel's id of its boot; see remember
	*pinger
}

type made struct {
	ID                string `json:"id"`
	FloatingIPAddress string `json:"floating_ip_address"`
}

// newTenant makes it.
func newTenant(ctx context.Context, c *cloud) (*tenant, error) {
	t := &tenant{c: c, ledger: newLedger(), prefix: "load-"}
	guest, err := os.ReadFile(c.site.guest)
	if err != nil {
		return nil, err
	}
	for _, i := range []struct {
		to     *string
		name   string
		format string
		data   []byte
	}{{&t.guest, "guest", "qcow2", guest}, {&t.blank, "blank", "raw", make([]byte, 64<<10)}} {
		if *i.to, err = c.image(ctx, i.name, i.format, i.data); err != nil {
			return nil, err
		}
	}
	for _, f := range []struct {
		to   *string
		name string
		ram  int
	}{{&t.flavor, "small", 128}, {&t.tiny, "tiny", 64}} {
		var out struct{ Flavor made }
		if err := c.create(ctx, computePath+"/flavors", m{"flavor": m{"name": f.name, "ram": f.ram, "vcpus": 1, "disk": 1}}, &out); err != nil {
			return nil, err
		}
		*f.to = out.Flavor.ID
	}
	if err := t.makeKey(ctx); err != nil {
		return nil, err
	}
	return t, t.network(ctx)
}

// image makes an image and uploads its data.
func (c *cloud) image(ctx context.Context, name, format string, data []byte) (string, error) {
	var i made
	if err := c.create(ctx, imagePath+"/images", m{"name": name, "disk_format": format, "container_format": "bare", "visibility": "public"}, &i); err != nil {
		return "", err
	}
	return i.ID, c.upload(ctx, i.ID, data)
}

// upload sends an image's data. An image that has it already refuses more:
// the answer to an earlier attempt was lost.
func (c *cloud) upload(ctx context.Context, id string, data []byte) error {
	err := c.do(ctx, request{method: http.MethodPut, path: imagePath + "/images/" + id + "/file", raw: data})
	if code(err) != http.StatusConflict {
		return err
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		var i struct{ Status string }
		if err := c.get(ctx, imagePath+"/images/"+id, &i); err != nil {
			return err
		}
		if i.Status != "active" {
			return fmt.Errorf("image %s is %s", id, i.Status)
		}
		return nil
	})
}

// network makes the networks, a router between them and a security group.
func (t *tenant) network(ctx context.Context) error {
	post := func(kind, plural string, in m) (string, error) {
		out := map[string]made{}
		err := t.c.create(ctx, networkPath+"/"+plural, m{kind: in}, &out)
		return out[kind].ID, err
	}
	var err error
	if t.private, err = post("network", "networks", m{"name": "private"}); err != nil {
		return err
	}
	if t.subnet, err = post("subnet", "subnets", m{"network_id": t.private, "ip_version": 4, "cidr": "10.99.0.0/20"}); err != nil {
		return err
	}
	t.kinds = []kind{imageKind, portKind}
	if len(t.c.with("compute")) > 0 {
		t.kinds = append(t.kinds, serverKind)
	}
	if len(t.c.with("network")) == 0 {
		return nil
	}
	t.kinds = append(t.kinds, floatingIPKind)
	// Which physical networks there are, the network nodes tell when they are up.
	err = until(ctx, time.Minute, func(context.Context) (err error) {
		t.external, err = post("network", "networks", m{
			"name": "public", "router:external": true,
			"provider:network_type": "flat", "provider:physical_network": "public",
		})
		return err
	})
	if err != nil {
		return err
	}
	if _, err = post("subnet", "subnets", m{
		"network_id": t.external, "ip_version": 4, "cidr": provider.prefix.String(), "enable_dhcp": false,
		"gateway_ip": provider.address(1).String(), "allocation_pools": []m{{"start": provider.address(50).String(), "end": provider.address(250).String()}},
	}); err != nil {
		return err
	}
	router, err := post("router", "routers", m{"name": "r", "external_gateway_info": m{"network_id": t.external}})
	if err != nil {
		return err
	}
	if err := t.c.do(ctx, request{method: http.MethodPut, path: networkPath + "/routers/" + router + "/add_router_interface", in: m{"subnet_id": t.subnet}}); err != nil {
		return err
	}
	if t.group, err = post("security_group", "security-groups", m{"name": "reachable"}); err != nil {
		return err
	}
	for _, rule := range []m{{"protocol": "icmp"}, {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22}} {
		rule["security_group_id"], rule["direction"], rule["ethertype"] = t.group, "ingress", "IPv4"
		if _, err := post("security_group_rule", "security-group-rules", rule); err != nil {
			return err
		}
	}
	return nil
}

// witness boots a guest on a host and watches it.
func (t *tenant) witness(ctx context.Context, name, host string) (*witness, error) {
	var server struct{ Server made }
	if err := t.c.create(ctx, computePath+"/servers", m{"server": m{
		"name": name, "imageRef": t.guest, "flavorRef": t.flavor, "key_name": "k",
		"networks": []m{{"uuid": t.private}}, "security_groups": []m{{"name": "reachable"}}, "availability_zone": "nova:" + host,
	}}, &server); err != nil {
		return nil, err
	}
	if err := t.c.active(ctx, server.Server.ID); err != nil {
		return nil, err
	}
	return t.watch(ctx, &witness{name: name, id: server.Server.ID, host: host})
}

// watch gives a guest a floating IP and pings it until the test ends. It
// returns when the first answer came.
func (t *tenant) watch(ctx context.Context, w *witness) (*witness, error) {
	port, err := t.onlyPort(ctx, w)
	if err != nil {
		return nil, err
	}
	var fip struct{ FloatingIP made }
	if err := t.c.create(ctx, networkPath+"/floatingips", m{"floatingip": m{
		"floating_network_id": t.external, "port_id": port,
		"description": w.name,
	}}, &fip); err != nil {
		return nil, err
	}
	if w.public, err = netip.ParseAddr(fip.FloatingIP.FloatingIPAddress); err != nil {
		return nil, err
	}
	asked := time.Now()
	if w.pinger, err = t.c.outside.ping(w.name, w.public); err != nil {
		return nil, err
	}
	t.c.t.Cleanup(w.close)
	t.witnesses = append(t.witnesses, w)
	return w, until(ctx, 10*time.Minute, func(context.Context) error {
		if !w.answered(asked) {
			return fmt.Errorf("%s does not answer at %s", w.name, w.public)
		}
		return nil
	})
}

// onlyPort returns the id of a guest's port, and notes its address.
func (t *tenant) onlyPort(ctx context.Context, w *witness) (string, error) {
	var list struct {
		Ports []struct {
			ID       string
			FixedIPs []struct {
				Address netip.Addr `json:"ip_address"`
			} `json:"fixed_ips"`
		}
	}
	if err := t.c.get(ctx, networkPath+"/ports?device_id="+w.id, &list); err != nil {
		return "", err
	}
	if len(list.Ports) != 1 || len(list.Ports[0].FixedIPs) != 1 {
		return "", fmt.Errorf("server %s has %d ports", w.name, len(list.Ports))
	}
	w.fixed = list.Ports[0].FixedIPs[0].Address
	return list.Ports[0].ID, nil
}

// active waits until a server is ACTIVE.
func (c *cloud) active(ctx context.Context, id string) error {
	return until(ctx, 5*time.Minute, func(ctx context.Context) error {
		s, err := c.server(ctx, id)
		switch {
		case code(err) == http.StatusNotFound:
			return finalError{err}
		case err != nil:
			return err
		case s.Status == "ACTIVE":
			return nil
		}
		err = fmt.Errorf("server %s is %s (%s)", s.Name, s.Status, s.Fault.Message)
		if s.Status == "ERROR" {
			return finalError{err}
		}
		return err
	})
}

// serverView is what the APIs tell of a server.
type serverView struct {
	ID, Name, Status string
	Host             string `json:"OS-EXT-SRV-ATTR:host"`
	Task             string `json:"OS-EXT-STS:task_state"`
	Fault            struct{ Message string }
}

func (c *cloud) server(ctx context.Context, id string) (serverView, error) {
	var out struct{ Server serverView }
	err := c.get(ctx, computePath+"/servers/"+id, &out)
	return out.Server, err
}

// moved waits until a witness answers on another host.
func (t *tenant) moved(ctx context.Context, w *witness, host string) error {
	if err := t.c.active(ctx, w.id); err != nil {
		return err
	}
	asked := time.Now()
	return until(ctx, 3*time.Minute, func(ctx context.Context) error {
		s, err := t.c.server(ctx, w.id)
		switch {
		case err != nil:
			return err
		case s.Host != host:
			return fmt.Errorf("server %s is on %s", s.Name, s.Host)
		case !w.answered(asked):
			return fmt.Errorf("%s does not answer at %s", w.name, w.public)
		}
		w.host = host
		return nil
	})
}
