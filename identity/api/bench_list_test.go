package api_test

import (
	"fmt"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
)

// BenchmarkListProjects is a list of 100 projects.
func BenchmarkListProjects(b *testing.B) {
	c := newCloud(b, dbtest.New(b), nil)
	for i := range 100 {
		c.make("projects", "project", doc{"name": fmt.Sprint("p", i), "domain_id": "default"})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		c.must(200, "GET", "/v3/projects", c.admin, nil)
	}
}

// BenchmarkLogin is a password login at bcrypt's cheapest cost: all but the
// hash.
func BenchmarkLogin(b *testing.B) {
	c := newCloud(b, dbtest.New(b), nil)
	user, project := c.team("u")
	for b.Loop() {
		c.login(user, "pw", inProject(project))
	}
}
