// Package feed tells a project what changed: a row per change, written in the
// change's own transaction, and server-sent events that follow the rows. A
// client that was away goes on where it stopped, by the id of the last event it
// saw; whoever is slow reads from the database, so nobody's silence costs
// memory.
package feed

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/obs"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Actions.
const (
	Create = "create"
	Update = "update"
	Delete = "delete"
)

const (
	// kept is how long events are kept for clients that come back.
	kept = 24 * time.Hour
	// ring bounds the newest events that are kept in memory for all clients.
	ring = 1024
	// batch bounds what is read at once.
	batch = 500
	// gapPatience is how long a missing number may belong to a transaction
	// that has not ended; then it was rolled back.
	gapPatience = 3 * time.Second
	// beat is how often the rows are looked at while somebody follows: other
	// processes write them too.
	beat = 500 * time.Millisecond
)

// Event is one change of a resource.
type Event struct {
	Seq       int64     `db:"seq" json:"-"`
	Time      time.Time `db:"happened_at" json:"time"`
	ProjectID string    `db:"project_id" json:"project_id"`
	Kind      string    `db:"kind" json:"kind"` // "server", "port"
	ObjectID  string    `db:"object_id" json:"id"`
	Action    string    `db:"action" json:"action"`
	Status    string    `db:"status" json:"status,omitempty"` // after the change
	RequestID string    `db:"request_id" json:"request_id,omitempty"`
}

// Feed is one service's changes.
type Feed struct {
	d   *db.DB
	log *slog.Logger

	wake chan struct{}

	mu        sync.Mutex
	ended     bool
	followers int
	of        map[string]int // followers by project
	recent    []Event        // in order of Seq, without gaps that may still fill
	last      int64          // the newest that may be told; -1: not known
	news      chan struct{}
}

// New makes the table in a service's database.
func New(ctx context.Context, d *db.DB) (*Feed, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := d.Migrate(ctx, "feed", sub); err != nil {
		return nil, err
	}
	return &Feed{d: d, log: slog.Default(), wake: make(chan struct{}, 1), last: -1, of: map[string]int{}, news: make(chan struct{})}, nil
}

// Record stores a change; call it in the transaction that makes the change.
// Changes of no project are nobody's news.
func (f *Feed) Record(ctx context.Context, project, kind, id, action, status string) error {
	if f == nil || project == "" {
		return nil
	}
	_, err := db.Exec(ctx, f.d, "INSERT INTO feed (happened_at, project_id, kind, object_id, action, status, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
		db.Now(), project, kind, id, action, status, obs.RequestID(ctx))
	if err != nil {
		return err
	}
	f.d.AfterCommit(ctx, f.nudge)
	return nil
}

func (f *Feed) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run reads new rows for those who follow and forgets old ones, until ctx ends;
// then everybody who follows is let go.
func (f *Feed) Run(ctx context.Context) error {
	defer f.end()
	look, sweep := time.NewTicker(beat), time.NewTicker(kept/100)
	defer look.Stop()
	defer sweep.Stop()
	var waiting gap
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			if err := f.sweep(ctx); err != nil {
				f.complain(ctx, err)
			}
			continue
		case <-look.C:
		case <-f.wake:
		}
		if !f.followed() {
			f.forget()
			waiting = gap{}
			continue
		}
		if err := f.read(ctx, &waiting); err != nil {
			f.complain(ctx, err)
		}
	}
}

// sweep forgets old rows, but never the newest: it tells a client that was away
// for long that it missed something.
func (f *Feed) sweep(ctx context.Context) error {
	newest, err := f.newest(ctx, db.Now())
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, f.d, "DELETE FROM feed WHERE happened_at < ? AND seq < ?", db.Now().Add(-kept), newest)
	return err
}

// newest is the highest number given out before a time; 0: none.
func (f *Feed) newest(ctx context.Context, before time.Time) (int64, error) {
	row, err := db.Get[struct {
		Seq int64 `db:"seq"`
	}](ctx, f.d, "SELECT COALESCE(MAX(seq), 0) AS seq FROM feed WHERE happened_at <= ?", before)
	if err != nil {
		return 0, err
	}
	return row.Seq, nil
}

func (f *Feed) complain(ctx context.Context, err error) {
	if ctx.Err() == nil {
		f.log.LogAttrs(ctx, slog.LevelWarn, "the change feed does not advance", slog.String("error", err.Error()))
	}
}

// gap is a number that is missing, since when.
type gap struct {
	after int64
	since time.Time
}

// read takes the rows after the last that was told. Numbers are given out
// before transactions end: behind a missing one, it waits for a while.
func (f *Feed) read(ctx context.Context, g *gap) error {
	last, err := f.position(ctx)
	if err != nil {
		return err
	}
	rows, err := f.after(ctx, last, "", batch)
	if err != nil {
		return err
	}
	ready := rows[:0]
	for _, e := range rows {
		if e.Seq != last+1 {
			if g.after != last || g.since.IsZero() {
				*g = gap{last, time.Now()}
			}
			if time.Since(g.since) < gapPatience {
				break
			}
		}
		ready, last = append(ready, e), e.Seq
	}
	if len(ready) == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = append(f.recent, ready...)
	if over := len(f.recent) - ring; over > 0 {
		f.recent = append([]Event(nil), f.recent[over:]...)
	}
	f.last = last
	close(f.news)
	f.news = make(chan struct{})
	if len(rows) == batch {
		f.nudge()
	}
	return nil
}

// position is the newest number that may be told.
func (f *Feed) position(ctx context.Context) (int64, error) {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	if last >= 0 {
		return last, nil
	}
	// Lower numbers than those of a while ago have long been committed.
	seq, err := f.newest(ctx, db.Now().Add(-gapPatience))
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last < 0 {
		f.last = seq
	}
	return f.last, nil
}

// after returns up to n rows behind a number: a project's, or ("") all.
func (f *Feed) after(ctx context.Context, seq int64, project string, n int) ([]Event, error) {
	w := db.Where().Raw("seq > ?", seq)
	if project != "" {
		w.Eq("project_id", project)
	}
	return db.SelectPage[Event](ctx, f.d, "feed", w, db.Page{Limit: n, ID: "seq"})
}

func (f *Feed) followed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.followers > 0
}

// forget drops what is in memory while nobody follows.
func (f *Feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == 0 {
		f.recent, f.last = nil, -1
	}
}

func (f *Feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	close(f.news)
	f.news = make(chan struct{})
}
