package ovn_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/ovn"
	"github.com/tropocloud/tropo/network/driver/ovn/daemons"
)

// lab is a real OVN on this machine, in a namespace and directory of its own.
type lab struct {
	cloud  *daemons.Daemons
	config daemons.Config
	driver *ovn.Driver
	nb     *ovsdb.Client // a second client, for looking and damaging
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"ovsdb-server", "ovs-vswitchd", "ovn-northd", "ovn-controller"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir, err := os.MkdirTemp("", "ovn")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{config: daemons.Config{ID: dir, Dir: dir + "/net", Central: true, Log: slog.New(slog.DiscardHandler)}}
	if l.cloud, err = daemons.New(l.config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.cloud.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		os.RemoveAll(dir)
	})
	if err := l.cloud.Start(within(t)); err != nil {
		t.Fatal(err)
	}
	l.driver, err = ovn.Open(ovn.Options{
		Remotes: l.cloud.NorthboundRemotes, GatewayChassis: []string{l.cloud.Chassis()}, Capabilities: l.cloud.Capabilities(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.driver.Close() })
	l.nb, err = ovsdb.Open(ovsdb.Options{Remotes: []string{l.cloud.Northbound()}, Database: "OVN_Northbound"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.nb.Close() })
	return l
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (l *lab) harness(*testing.T) drivertest.Harness {
	return drivertest.Harness{
		Driver: l.driver,
		Plug: func(t *testing.T, p driver.Port) func() {
			g := drivertest.Plug(t, l.driver.Capabilities(), p)
			return func() { g.Unplug(t) }
		},
		Damage: l.damage,
	}
}

// damage deletes the northbound rows of an object, or takes them out of the
// rows that hold them.
func (l *lab) damage(t *testing.T, o driver.Object) {
	t.Helper()
	owned := []ovsdb.Condition{{Column: "external_ids", Function: "includes", Value: ovsdb.Map{"tropo:owner": o.String()}}}
	ops := []ovsdb.Operation{}
	for _, root := range []string{"Logical_Switch", "Logical_Router", "Port_Group", "Address_Set", "DHCP_Options"} {
		ops = append(ops, ovsdb.Delete(root, owned))
	}
	for _, child := range [][3]string{{"Logical_Switch_Port", "Logical_Switch", "ports"}, {"NAT", "Logical_Router", "nat"}} {
		res, err := l.nb.Transact(within(t), ovsdb.Select(child[0], owned, "_uuid"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res[0].Rows {
			ops = append(ops, ovsdb.Mutate(child[1], nil, ovsdb.Mutation{Column: child[2], Mutator: "delete", Value: ovsdb.UUIDs(r.UUID())}))
		}
	}
	if _, err := l.nb.Transact(within(t), ops...); err != nil {
		t.Fatal(err)
	}
}
