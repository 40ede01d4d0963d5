package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/doctor"
)

// TestDoctor: roles of users and on projects that are gone are found and
// removed; those of a directory's users, of whom no row tells, stay.
func TestDoctor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := context.Background()
		c := newCloud(t, d, nil)
		e := doctor.New(doctor.Options{Pause: 10 * time.Millisecond})
		e.Add(c.m.Checks()...)
		run := func(heal bool) *doctor.Report {
			r, err := e.Run(ctx, heal)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		if r := run(true); r.Code() != doctor.Clean || len(r.Healed) > 0 {
			t.Fatalf("before: %+v", r)
		}
		count := func() int {
			n, err := db.Count(ctx, d, "SELECT COUNT(*) FROM assignments")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := count()
		// Copies of some grant on a project, with one side replaced.
		g, err := db.Get[struct {
			Actor  string `db:"actor_id"`
			Target string `db:"target_id"`
			Role   string `db:"role_id"`
		}](ctx, d, "SELECT actor_id, target_id, role_id FROM assignments WHERE actor_type = 'user' AND target_type = 'project'")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range [][2]string{{"0123456789abcdef0123456789abcdef", g.Target}, {g.Actor, "fedcba9876543210fedcba9876543210"}, {strings.Repeat("ab", 32), g.Target}} {
			if _, err := db.Exec(ctx, d, "INSERT INTO assignments (actor_type, actor_id, target_type, target_id, role_id, inherited) VALUES ('user', ?, 'project', ?, ?, ?)",
				a[0], a[1], g.Role, false); err != nil {
				t.Fatal(err)
			}
		}
		r := run(false)
		if len(r.Findings) != 2 || r.Findings[0].Check != "assignment-orphan" || r.Code() != doctor.Broken {
			t.Fatalf("%+v", r)
		}
		if r = run(true); r.Code() != doctor.Clean || len(r.Healed) != 2 || count() != before+1 {
			t.Errorf("%d assignments: %+v", count(), r)
		}
	})
}
