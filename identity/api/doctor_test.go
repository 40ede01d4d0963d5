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
		for _, a := range [][2]string{{"0123456789abcdef0123456789abcdef", "target_id"}, {"actor_id", "fedcba9876543210fedcba9876543210"}, {strings.Repeat("ab", 32), "target_id"}} {
			actor, target := a[0], a[1]
			if actor != "actor_id" {
				actor = "'" + actor + "'"
			}
			if target != "target_id" {
				target = "'" + target + "'"
			}
			// A copy of some grant on a project, with one side replaced.
			if _, err := db.Exec(ctx, d, "INSERT INTO assignments (actor_type, actor_id, target_type, target_id, role_id, inherited) SELECT actor_type, "+actor+", target_type, "+target+
				", role_id, inherited FROM (SELECT * FROM assignments WHERE actor_type = 'user' AND target_type = 'project' ORDER BY actor_id, target_id, role_id LIMIT 1) g"); err != nil {
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
