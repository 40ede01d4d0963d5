package vif_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/vif"
	"github.com/tropocloud/tropo/compute/driver/vif/viftest"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

func TestPlug(t *testing.T) {
	ctx := t.Context()
	p := viftest.Switch(t)
	server, other := uuid.NewString(), uuid.NewString()
	v, w := viftest.VIF(t), viftest.VIF(t)
	for _, plug := range []struct {
		server string
		v      driver.VIF
	}{{server, v}, {server, v}, {other, w}} {
		if err := p.Plug(ctx, plug.server, plug.v); err != nil {
			t.Fatal(err)
		}
	}
	ids := show(t, p, v)
	for _, want := range []string{
		`iface-id="` + v.PortID + `"`, `attached-mac="` + v.MAC + `"`, `iface-status=active`, `vm-uuid="` + server + `"`,
	} {
		if !strings.Contains(ids, want) {
			t.Errorf("%s is not in %s", want, ids)
		}
	}
	if taps, err := p.Plugged(ctx, server); err != nil || len(taps) != 1 || taps[0] != v.Device() {
		t.Errorf("plugged %v, %v", taps, err)
	}
	if _, err := p.Counters(ctx, v); err != nil {
		t.Error(err)
	}
	out, err := host.Run(ctx, host.Command{Path: "ip", Args: []string{"link", "show", "dev", v.Device()}, Netns: p.Netns})
	if err != nil || !strings.Contains(string(out), "mtu 1442") || !strings.Contains(string(out), "UP") {
		t.Errorf("%s, %v", out, err)
	}
	for range 2 {
		if err := p.UnplugServer(ctx, server); err != nil {
			t.Fatal(err)
		}
		if err := p.Unplug(ctx, w); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []driver.VIF{v, w} {
		if _, err := p.Counters(ctx, gone); err == nil {
			t.Errorf("%s is left", gone.Device())
		}
	}
	if taps, err := p.Plugged(ctx, other); err != nil || len(taps) != 0 {
		t.Errorf("plugged %v, %v", taps, err)
	}
}

// A crash between making the tap and adding it leaves a tap that Unplug ends.
func TestUnplugHalf(t *testing.T) {
	p := viftest.Switch(t)
	v := viftest.VIF(t)
	_, err := host.Run(t.Context(), host.Command{
		Path: "ip", Args: []string{"tuntap", "add", "dev", v.Device(), "mode", "tap"}, Netns: p.Netns,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Unplug(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Counters(t.Context(), v); err == nil {
		t.Error("the tap is left")
	}
}

// Errors name no path or tool to the user (CVE-2019-14433: threat 24).
// TestSwitchAway: while the switch's database is being restarted, everything
// may be asked again; then it is done.
func TestSwitchAway(t *testing.T) {
	p := viftest.Switch(t)
	away := *p
	away.OVSDB += ".away"
	server, v := uuid.NewString(), viftest.VIF(t)
	for what, err := range map[string]error{
		"plug": away.Plug(t.Context(), server, v), "unplug": away.Unplug(t.Context(), v), "unplug all": away.UnplugServer(t.Context(), server),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.Plug(t.Context(), server, v); err != nil {
		t.Error(err)
	}
	if err := p.Unplug(t.Context(), v); err != nil {
		t.Error(err)
	}
}

func TestPlugRefuses(t *testing.T) {
	p := &vif.Plugger{OVSDB: "/nonexistent/db.sock", Netns: "no-such-namespace"}
	v := viftest.VIF(t)
	err := p.Plug(t.Context(), uuid.NewString(), v)
	f, ok := fault.As(err)
	if !ok || strings.Contains(f.Message, "/") || strings.Contains(f.Message, "ovs") || strings.Contains(f.Message, "namespace") {
		t.Errorf("got %v", err)
	}
	for _, bridge := range []string{"", "--br", "br int", "br-int-with-a-long-name"} {
		v.Bridge = bridge
		if err := p.Plug(t.Context(), uuid.NewString(), v); !fault.Is(err, fault.Invalid) {
			t.Errorf("bridge %q: got %v", bridge, err)
		}
	}
}

func show(t *testing.T, p *vif.Plugger, v driver.VIF) string {
	t.Helper()
	out, err := host.Run(t.Context(), host.Command{
		Path: "ovs-vsctl", Args: []string{"--db=unix:" + p.OVSDB, "get", "interface", v.Device(), "external_ids"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
