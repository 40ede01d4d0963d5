package manager_test

import (
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
)

// TestProjectIDsStayInOneSegment: what a caller names as a project is never more
// than the last segment of the path that identity is asked for.
func TestProjectIDsStayInOneSegment(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Must(200, computetest.Admin, "", "POST", "/v2.1/flavors", m{"flavor": m{"name": "own", "id": "own", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": false}})
	access := func(want int, id string) {
		c.Must(want, computetest.Admin, "", "POST", "/v2.1/flavors/own/action", m{"addTenantAccess": m{"tenant": id}})
	}
	for _, id := range []string{"../users/" + computetest.Project, "..", "%zz", computetest.Project + "?a=b"} {
		access(400, id)
	}
	access(200, computetest.Project)
}
