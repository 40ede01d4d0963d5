package api_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// BenchmarkValidate is GET /v3/auth/tokens by a service, with growing numbers
// of revocations stored; the time must not grow with them.
func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{0, 1000, 100000} {
		b.Run(fmt.Sprintf("revocations=%d", n), func(b *testing.B) {
			d := dbtest.New(b)
			c := newCloud(b, d, nil)
			user, project := c.team("u")
			revocations(b, d, n)
			token, nova := c.login(user, "pw", inProject(project)), c.service()
			b.ResetTimer()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/v3/auth/tokens", nil)
				r.Header.Set("X-Auth-Token", nova)
				r.Header.Set("X-Subject-Token", token)
				w := httptest.NewRecorder()
				c.api.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
			}
		})
	}
}

// BenchmarkValidateCold drops what is remembered before each validation.
func BenchmarkValidateCold(b *testing.B) {
	d := dbtest.New(b)
	c := newCloud(b, d, nil)
	user, project := c.team("u")
	token := c.login(user, "pw", inProject(project))
	for b.Loop() {
		if _, err := db.Exec(context.Background(), d, "UPDATE generation SET number = number + 1"); err != nil {
			b.Fatal(err)
		}
		if _, err := c.m.Token(context.Background(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRescope is a token for a token.
func BenchmarkRescope(b *testing.B) {
	c := newCloud(b, dbtest.New(b), nil)
	user, project := c.team("u")
	token := c.login(user, "pw", nil)
	body := doc{"auth": doc{"identity": doc{"methods": []string{"token"}, "token": doc{"id": token}}, "scope": inProject(project)}}
	for b.Loop() {
		if a := c.do("POST", "/v3/auth/tokens", "", body); a.status != 201 {
			b.Fatal(a.text)
		}
	}
}

func revocations(tb testing.TB, d *db.DB, n int) {
	tb.Helper()
	err := d.Tx(context.Background(), func(ctx context.Context) error {
		now := time.Now()
		for i := range n {
			_, err := db.Exec(ctx, d, "INSERT INTO revocations (id, match_key, audit_id, issued_before, revoked_at, forget_at) VALUES (?, ?, ?, ?, ?, ?)",
				fmt.Sprintf("%032x", i), fmt.Sprintf("audit:%022d", i), fmt.Sprintf("%022d", i), now, now, now.Add(time.Hour))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}
