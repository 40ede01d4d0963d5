package api_test

import (
	"fmt"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

type m = map[string]any

// names are the names of the servers in an answer, sorted.
func names(a computetest.Answer) string {
	var out []string
	list, _ := a.Get("servers").([]any)
	for _, s := range list {
		out = append(out, s.(m)["name"].(string))
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

// TestFilters lists servers by every kind of filter on every engine.
func TestFilters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		c := computetest.New(t, computetest.Options{DB: d})
		c.Flavor()
		begin := time.Now().UTC().Format(time.RFC3339)
		ids := map[string]string{}
		for _, n := range []string{"alpha", "beta", "gamma-1"} {
			ids[n] = c.Boot(n, m{"metadata": m{"who": n}})
			c.Status(ids[n], "ACTIVE")
			c.Must(200, computetest.Member, "2.26", "PUT", "/v2.1/servers/"+ids[n]+"/tags", m{"tags": []string{"all", n}})
		}
		c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+ids["beta"]+"/action", m{"os-stop": nil})
		c.Status(ids["beta"], "SHUTOFF")
		ip := c.Status(ids["alpha"], "ACTIVE").Get("server", "addresses", "net").([]any)[0].(m)["addr"].(string)
		for _, tt := range []struct{ token, query, want string }{
			{computetest.Member, "", "alpha beta gamma-1"},
			{computetest.Foreign, "", ""},
			{computetest.Member, "name=^al", "alpha"},
			{computetest.Member, "name=a$", "alpha beta"},
			{computetest.Member, "name=" + url.QueryEscape("^(beta|gamma)"), "beta gamma-1"},
			{computetest.Member, "name=ALPHA", ""},
			{computetest.Member, "status=SHUTOFF", "beta"},
			{computetest.Member, "status=ACTIVE", "alpha gamma-1"},
			{computetest.Member, "status=ACTIVE&status=SHUTOFF", "alpha beta gamma-1"},
			{computetest.Member, "status=nonsense", ""},
			{computetest.Member, "flavor=1", "alpha beta gamma-1"},
			{computetest.Member, "flavor=2", ""},
			{computetest.Member, "image=" + computetest.ImageID, "alpha beta gamma-1"},
			{computetest.Member, "ip=" + url.QueryEscape("^"+ip+"$"), "alpha"},
			{computetest.Admin, "host=host1", "alpha beta gamma-1"},
			{computetest.Admin, "host=host2", ""},
			{computetest.Member, "host=host2", "alpha beta gamma-1"}, // not theirs to ask: passed over
			{computetest.Admin, `metadata={"who":"beta"}`, "beta"},
			{computetest.Member, "changes-since=" + begin, "alpha beta gamma-1"},
			{computetest.Member, "changes-since=2099-01-01T00:00:00Z", ""},
			{computetest.Member, "limit=1&sort_key=display_name&sort_dir=asc", "alpha"},
			{computetest.Member, "limit=1&sort_key=display_name&sort_dir=asc&marker=" + ids["alpha"], "beta"},
			{computetest.Admin, "deleted=true", ""},
		} {
			if got := names(c.Must(200, tt.token, "", "GET", "/v2.1/servers/detail?"+strings.ReplaceAll(tt.query, `"`, "%22"), nil)); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.query, got, tt.want)
			}
		}
		for query, want := range map[string]string{
			"tags=all": "alpha beta gamma-1", "tags=all,beta": "beta", "tags-any=alpha,beta": "alpha beta", "not-tags=all,beta": "alpha gamma-1", "not-tags-any=alpha,beta": "gamma-1",
		} {
			if got := names(c.Must(200, computetest.Member, "2.26", "GET", "/v2.1/servers?"+query, nil)); got != want {
				t.Errorf("%s: got %q, want %q", query, got, want)
			}
		}
		for _, q := range []string{"marker=nobody", "limit=-1", "sort_key=colour", "changes-since=yesterday"} {
			c.Must(400, computetest.Member, "", "GET", "/v2.1/servers?"+q, nil)
		}
		c.Must(403, computetest.Member, "", "GET", "/v2.1/servers?all_tenants=1", nil)
		c.Must(403, computetest.Member, "", "GET", "/v2.1/servers?status=deleted", nil)
		paged := ""
		for path := "/v2.1/servers?limit=1"; path != ""; {
			a := c.Must(200, computetest.Member, "", "GET", path, nil)
			paged += fmt.Sprint(names(a), ";")
			path = ""
			if next, ok := a.Get("servers_links").([]any); ok {
				path = strings.TrimPrefix(next[0].(m)["href"].(string), "http://cloud")
			}
		}
		if paged != "gamma-1;beta;alpha;;" {
			t.Errorf("pages: %q", paged)
		}
		for _, id := range ids {
			c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
			c.Gone(id)
		}
		if got := names(c.Must(200, computetest.Member, "", "GET", "/v2.1/servers?changes-since="+begin, nil)); got != "alpha beta gamma-1" {
			t.Errorf("changes-since does not show what was deleted: %q", got)
		}
	})
}
