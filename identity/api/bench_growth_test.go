package api_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// BenchmarkGrowth is what a cloud's users ask for, in clouds of growing size:
// the times must stay what they are.
func BenchmarkGrowth(b *testing.B) {
	for _, size := range []struct{ users, projects int }{{1000, 100}, {10000, 1000}, {100000, 10000}} {
		d := dbtest.New(b)
		c := newCloud(b, d, nil)
		user, project := c.team("u")
		c.populate(b, d, size.users, size.projects)
		nova, token := c.service(), c.login(user, "pw", inProject(project))
		unscoped := c.login(user, "pw", nil)
		rescope := doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": unscoped}}, "scope": inProject(project)}}
		some := fmt.Sprintf("%032x", size.users/2)
		at := fmt.Sprintf("f%031x", size.projects/2)
		for _, op := range []struct {
			name string
			do   func()
		}{
			{"login", func() { c.login(user, "pw", inProject(project)) }},
			{"rescope", func() { c.must(201, "POST", "/v3/auth/tokens", "", rescope) }},
			{"validate", func() { c.must(200, "GET", "/v3/auth/tokens", nova, nil, "X-Subject-Token", token) }},
			{"user by name", func() { c.must(200, "GET", "/v3/users?domain_id=default&name=user7", c.admin, nil) }},
			{"users, a page of 100", func() { c.must(200, "GET", "/v3/users?limit=100", c.admin, nil) }},
			{"project by name", func() { c.must(200, "GET", "/v3/projects?name=project7", c.admin, nil) }},
			{"projects of a user", func() { c.must(200, "GET", "/v3/users/"+some+"/projects", c.admin, nil) }},
			{"assignments of a user", func() { c.must(200, "GET", "/v3/role_assignments?user.id="+some, c.admin, nil) }},
			{"assignments on a project", func() { c.must(200, "GET", "/v3/role_assignments?scope.project.id="+at, c.admin, nil) }},
			{"effective, of a user", func() { c.must(200, "GET", "/v3/role_assignments?effective&user.id="+some, c.admin, nil) }},
			{"effective, on a project", func() { c.must(200, "GET", "/v3/role_assignments?effective&scope.project.id="+at, c.admin, nil) }},
		} {
			b.Run(fmt.Sprintf("users=%d/%s", size.users, op.name), func(b *testing.B) {
				for b.Loop() {
					op.do()
				}
			})
		}
	}
}

// populate adds users with two assignments each, spread over projects.
func (c *cloud) populate(b *testing.B, d *db.DB, users, projects int) {
	b.Helper()
	role, now := c.role("member"), time.Now()
	insert := func(ctx context.Context, text string, args ...any) error {
		_, err := db.Exec(ctx, d, text, args...)
		return err
	}
	err := d.Tx(context.Background(), func(ctx context.Context) error {
		for i := range projects {
			if err := insert(ctx, "INSERT INTO projects (id, name, description, domain_id, parent_id, is_domain, enabled, options, extra) VALUES (?, ?, '', 'default', 'default', ?, ?, '{}', '{}')",
				fmt.Sprintf("f%031x", i), fmt.Sprint("project", i), false, true); err != nil {
				return err
			}
		}
		for i := range users {
			id, name := fmt.Sprintf("%032x", i), fmt.Sprint("user", i)
			if err := insert(ctx, "INSERT INTO users (id, name, unique_name, domain_id, description, enabled, options, extra, created_at, failed_auths) VALUES (?, ?, ?, 'default', '', ?, '{}', '{}', ?, 0)",
				id, name, name, true, now); err != nil {
				return err
			}
			for _, p := range []int{i % projects, (i + 1) % projects} {
				if err := insert(ctx, "INSERT INTO assignments (actor_type, actor_id, target_type, target_id, role_id, inherited) VALUES ('user', ?, 'project', ?, ?, ?)",
					id, fmt.Sprintf("f%031x", p), role, false); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
