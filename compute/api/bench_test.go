package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// BenchmarkListServers is GET /v2.1/servers/detail of many servers, each with
// a port, metadata and a tag.
func BenchmarkListServers(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("servers=%d", n), func(b *testing.B) {
			d := dbtest.New(b)
			c := computetest.New(b, computetest.Options{DB: d})
			c.Flavor()
			id := c.Boot("s", map[string]any{"metadata": map[string]string{"k": "v"}})
			c.Status(id, "ACTIVE")
			copies(b, c, d, id, n-1)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/v2.1/servers/detail?limit=1000", nil)
				r.Header.Set("X-Auth-Token", computetest.Member)
				w := httptest.NewRecorder()
				c.API.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Body)
				}
			}
			b.StopTimer()
			servers, _ := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/detail?limit=1000", nil).Get("servers").([]any)
			if len(servers) != n {
				b.Fatalf("%d servers", len(servers))
			}
		})
	}
}

// copies stores n rows like those of a server that was booted.
func copies(b *testing.B, c *computetest.Cloud, d *db.DB, id string, n int) {
	b.Helper()
	err := d.Tx(context.Background(), func(ctx context.Context) error {
		s, err := c.Store.Server(ctx, id)
		if err != nil {
			return err
		}
		for i := range n {
			s.ID, s.Name = uuid.NewString(), fmt.Sprint("s", i)
			if err := c.Store.InsertServer(ctx, s); err != nil {
				return err
			}
			for _, q := range []string{
				"INSERT INTO server_ports (id, server_id, position, port_id, network_id, fixed_ip, tag, owned, state, info) SELECT '" + uuid.NewString() +
					"', ?, position, '" + uuid.NewString() + "', network_id, fixed_ip, tag, owned, state, info FROM server_ports WHERE server_id = ?",
				"INSERT INTO server_metadata (server_id, name, text_value) SELECT ?, name, text_value FROM server_metadata WHERE server_id = ?",
			} {
				if _, err := db.Exec(ctx, d, q, s.ID, id); err != nil {
					return err
				}
			}
			if err := c.Store.SetTags(ctx, s.ID, []string{"t"}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBoot is a server from the request until it is active, on a
// simulated hypervisor, and its deletion.
func BenchmarkBoot(b *testing.B) {
	c := computetest.New(b, computetest.Options{DB: dbtest.New(b)})
	c.Flavor()
	for b.Loop() {
		id := c.Boot("s", nil)
		c.Status(id, "ACTIVE")
		c.Must(204, computetest.Member, "", "DELETE", "/v2.1/servers/"+id, nil)
		c.Gone(id)
	}
}
