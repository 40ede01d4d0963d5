package manager_test

import (
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
)

// TestRefusedInterface attaches an interface whose port the network refuses, as
// for an address in use: the caller is told, and nothing is left.
func TestRefusedInterface(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	fail := func(code int) func(method, path string) int {
		return func(method, path string) int {
			if method == "POST" && path == "/networking/v2.0/ports" {
				return code
			}
			return 0
		}
	}
	c.Peers.Do(func() { c.Peers.Fail = fail(409) })
	path := "/v2.1/servers/" + id + "/os-interface"
	c.Must(400, computetest.Member, "", "POST", path, m{"interfaceAttachment": m{"net_id": computetest.NetworkID}})
	c.Peers.Do(func() { c.Peers.Fail = nil })
	if got := c.Must(200, computetest.Member, "", "GET", path, nil).Get("interfaceAttachments").([]any); len(got) != 1 {
		t.Errorf("%d interfaces, want that of the birth alone", len(got))
	}
	c.Must(200, computetest.Member, "", "POST", path, m{"interfaceAttachment": m{"net_id": computetest.NetworkID}})
}
