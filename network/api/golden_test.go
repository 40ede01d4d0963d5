package api

import (
	"net/http"
	"testing"

	"github.com/tropocloud/tropo/rest/resttest"
)

func TestExchanges(t *testing.T) {
	resttest.Run(t, "testdata", func(t *testing.T) (http.Handler, map[string]string) {
		t.Helper()
		return newService(t).handler, map[string]string{
			"admin": "admin", "member": "member", "reader": "reader", "other": "other", "service": "service", "p1": project("p1"), "p2": project("p2"), "ad": project("ad"),
		}
	})
}

func TestExchangesCoverRoutes(t *testing.T) {
	resttest.Covered(t, newService(t).handler, "testdata")
}
