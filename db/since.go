package db

import (
	"context"
	"time"
)

type sinceKey struct{}

// ReadSince tells that whoever waits for ctx is content with any state that
// the database had at t or later: a request that changes nothing, with what
// was true after it came. A store may then answer with what it has read for
// another request meanwhile.
func ReadSince(ctx context.Context, t time.Time) context.Context {
	return context.WithValue(ctx, sinceKey{}, t)
}

// Since returns the time of ReadSince; false where every read must be new,
// as in a transaction.
func (d *DB) Since(ctx context.Context) (time.Time, bool) {
	if d.state(ctx) != nil {
		return time.Time{}, false
	}
	t, ok := ctx.Value(sinceKey{}).(time.Time)
	return t, ok
}
