package api_test

import (
	"net/http"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/rest/resttest"
)

const exchanges = "testdata"

func TestExchanges(t *testing.T) {
	resttest.Run(t, exchanges, func(t *testing.T) (http.Handler, map[string]string) {
		c := newCloud(t, dbtest.New(t), func(cfg *identity.Config) { cfg.Federation.TrustedProxySecret = "proxy" })
		vars := c.world("own")
		vars["admin"] = c.admin
		return c.api, vars
	})
}

// Every route of the table is shown in at least one exchange.
func TestEveryRouteHasAnExchange(t *testing.T) {
	c := newCloud(t, dbtest.New(t), nil)
	resttest.Covered(t, c.api, exchanges)
}
