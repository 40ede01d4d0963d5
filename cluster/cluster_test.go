package cluster_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/fault"
)

func TestTokenText(t *testing.T) {
	a := cluster.NewTokenText(strings.Repeat("ab", 32))
	b, err := cluster.ParseToken(" " + a.String() + "\n")
	if err != nil || a != b {
		t.Errorf("%v, %v; want %v", b, err, a)
	}
	if cluster.NewTokenText(a.Fingerprint).Secret == a.Secret {
		t.Error("two tokens have one secret")
	}
	for _, bad := range []string{"", "tropo1.", a.String()[1:], a.String() + "0", "tropo1." + a.Secret, strings.ToUpper(a.String())} {
		if _, err := cluster.ParseToken(bad); !fault.Is(err, fault.Invalid) || a.Secret != "" && err != nil && strings.Contains(err.Error(), a.Secret) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestNodeDocument(t *testing.T) {
	n := cluster.Node{
		Name: "h1", Roles: []cluster.Role{cluster.Compute, cluster.Network}, Management: netip.MustParseAddr("10.0.0.1"),
		Service: netip.MustParseAddr("fd00::1"), Joined: time.Unix(1, 0).UTC(), Version: "v",
	}
	b, err := json.Marshal(n.Document())
	if err != nil {
		t.Fatal(err)
	}
	var d cluster.NodeDocument
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	got := d.Node()
	if got.Name != n.Name || len(got.Roles) != 2 || got.Management != n.Management || got.Service != n.Service || got.Storage.IsValid() {
		t.Errorf("%+v; want %+v", got, n)
	}
	if got.StorageAddress() != n.Management || got.ServiceAddress() != n.Service {
		t.Errorf("storage %s, service %s", got.StorageAddress(), got.ServiceAddress())
	}
	if strings.Contains(string(b), "storage_address") {
		t.Errorf("an address that is not there: %s", b)
	}
}

func TestParseRoles(t *testing.T) {
	if all, err := cluster.ParseRoles(nil); err != nil || len(all) != 4 {
		t.Errorf("%v, %v", all, err)
	}
	if r, err := cluster.ParseRoles([]string{"network", "compute", "network"}); err != nil || len(r) != 2 {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := cluster.ParseRoles([]string{"king"}); !fault.Is(err, fault.Invalid) {
		t.Error(err)
	}
}
