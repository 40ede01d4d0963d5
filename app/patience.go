package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tropocloud/tropo/db"
)

// firstPause and longestPause are between tries to start while the database is
// away; each pause is twice the one before.
const (
	firstPause   = time.Second
	longestPause = 10 * time.Second
)

// patiently runs start, and runs it again as long as it fails because the
// database is away: a machine that starts together with its database comes up
// by itself. What may not pass by itself (a password, a URL) and what happens
// after done tells that all has started fails at once.
func patiently(ctx context.Context, log *slog.Logger, say func(string), start func() error, done func() bool) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := start()
		if !errors.Is(err, db.ErrAway) || done() || ctx.Err() != nil {
			return err
		}
		log.LogAttrs(ctx, slog.LevelWarn, "the database is out of reach; the start is tried again", slog.Duration("pause", pause), slog.Any("error", err))
		say(fmt.Sprintf("the database is out of reach, next try in %s: %v", pause, err))
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		case <-t.C:
		}
	}
}
