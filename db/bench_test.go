package db_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

func bench(b *testing.B) *db.DB {
	b.Helper()
	d := dbtest.New(b)
	if err := d.Migrate(context.Background(), "test", migrations); err != nil {
		b.Fatal(err)
	}
	return d
}

// BenchmarkCommits is the rate of small durable transactions of eight writers.
func BenchmarkCommits(b *testing.B) {
	d := bench(b)
	var n atomic.Int64
	b.SetParallelism(4)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			id := fmt.Sprint(n.Add(1))
			err := d.Tx(context.Background(), func(ctx context.Context) error {
				return db.Insert(ctx, d, "things", thing{ID: id, Name: id, CreatedAt: db.Now()})
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	d := bench(b)
	ctx := context.Background()
	if err := db.Insert(ctx, d, "things", thing{ID: "a", Name: "a", CreatedAt: db.Now()}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := db.Get[thing](ctx, d, "SELECT * FROM things WHERE id = ?", "a"); err != nil {
			b.Fatal(err)
		}
	}
}
