package api_test

import (
	"fmt"
	"testing"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db/dbtest"
)

// many starts a service with n active servers.
func many(b *testing.B, n int) *computetest.Cloud {
	b.Helper()
	c := computetest.New(b, computetest.Options{DB: dbtest.New(b), Hosts: []string{"h1", "h2", "h3", "h4"}, Config: func(o *compute.Config) {
		o.Quota.Instances, o.Quota.Cores, o.Quota.RAM = -1, -1, -1
		o.RAMRatio, o.CPURatio = 100, 100
	}})
	c.Flavor()
	for i := range n {
		c.Boot(fmt.Sprint("s", i), nil)
	}
	c.Wait("all are active", func() bool { ok, err := c.Tasks.Idle(b.Context()); return ok && err == nil })
	return c
}

// BenchmarkBoot asks for servers and waits until they are active.
func BenchmarkBoot(b *testing.B) {
	c := many(b, 1)
	b.ResetTimer()
	for b.Loop() {
		for i := range 10 {
			c.Boot(fmt.Sprint("b", i), nil)
		}
		c.Wait("all are active", func() bool { ok, err := c.Tasks.Idle(b.Context()); return ok && err == nil })
	}
}

// BenchmarkList lists 200 servers in detail.
func BenchmarkList(b *testing.B) {
	c := many(b, 200)
	b.ResetTimer()
	for b.Loop() {
		if a := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/detail", nil); len(a.Get("servers").([]any)) != 200 {
			b.Fatal(len(a.Text))
		}
	}
}

// BenchmarkShow shows one server.
func BenchmarkShow(b *testing.B) {
	c := many(b, 1)
	a := c.Must(200, computetest.Member, "", "GET", "/v2.1/servers", nil)
	id := a.Get("servers").([]any)[0].(m)["id"].(string)
	b.ResetTimer()
	for b.Loop() {
		c.Must(200, computetest.Member, "", "GET", "/v2.1/servers/"+id, nil)
	}
}
