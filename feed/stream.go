package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

const (
	// maxFollowers bounds the open streams of one process.
	maxFollowers = 1000
	// maxOfProject bounds those of one project, so that nobody takes them all.
	maxOfProject = 100
	// maxStream bounds a stream: the client comes again at once, goes on where
	// it was, and its token is looked at again, as it may have been revoked.
	maxStream = 5 * time.Minute
	// quiet is how often a comment is sent where nothing happens, so that
	// both sides notice a connection that is dead.
	quiet = 15 * time.Second
	// writeTimeout bounds how long a client may take to read what is sent.
	writeTimeout = 30 * time.Second
)

// rule is the policy rule of the route.
const rule = "feed:follow"

// Rule is the default policy of the route: whoever has a token of the project.
func Rule() policy.Rule {
	return policy.Rule{Name: rule, Check: "@", Description: "Follow the changes of the project's resources.", Scopes: []string{"project"}}
}

// Route is GET of the service's feed, for a token with a project: an endless
// text/event-stream (HTML Living Standard, Server-sent events) of the changes
// of that project's resources. Last-Event-ID (or ?last_event_id=) goes on
// behind an event; without it the stream begins now. An id that is too old to
// go on from is 410: list the resources, and follow from now. The stream ends
// with the token, and every few minutes.
func (f *Feed) Route() rest.Route {
	return rest.GET("/feed", f.open, rest.Policy(rule))
}

func (f *Feed) open(r *rest.Request) (any, error) {
	who := r.Caller()
	if who.Project.ID == "" {
		return nil, fault.Forbiddenf("The feed is of one project: use a token with a project.")
	}
	from := r.Header("Last-Event-ID")
	if from == "" {
		from = r.Query().Get("last_event_id")
	}
	ctx := r.Context()
	seq, err := f.begin(ctx, who.Project.ID, from)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(maxStream)
	if who.ExpiresAt.Before(until) {
		until = who.ExpiresAt
	}
	s := &stream{f: f, ctx: ctx, project: who.Project.ID, seq: seq, until: until}
	return &rest.Response{Status: http.StatusOK, Stream: s, Header: http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-store"}, "X-Accel-Buffering": {"no"},
	}}, nil
}

// begin counts a follower in and returns where it begins.
func (f *Feed) begin(ctx context.Context, project, from string) (int64, error) {
	f.mu.Lock()
	if f.ended || f.followers >= maxFollowers || f.of[project] >= maxOfProject {
		f.mu.Unlock()
		return 0, fault.Unavailablef("No further stream can be opened here now. Try again later.")
	}
	f.followers++
	f.of[project]++
	f.mu.Unlock()
	seq, err := f.start(ctx, from)
	if err != nil {
		f.leave(project)
	}
	return seq, err
}

func (f *Feed) start(ctx context.Context, from string) (int64, error) {
	if _, err := f.position(ctx); err != nil {
		return 0, err
	}
	if from == "" {
		return f.newest(ctx, db.Now())
	}
	seq, err := strconv.ParseInt(from, 10, 64)
	if err != nil || seq < 0 {
		return 0, fault.Invalidf("Last-Event-ID %q is not an id of this feed.", from)
	}
	row, err := db.Get[struct {
		Seq int64 `db:"seq"`
	}](ctx, f.d, "SELECT COALESCE(MIN(seq), 0) AS seq FROM feed")
	if err != nil {
		return 0, err
	}
	if row.Seq > seq+1 && seq > 0 {
		return 0, fault.New(fault.Gone, "The events behind %s are not kept any more. List your resources, and follow from now on.", from)
	}
	return seq, nil
}

func (f *Feed) leave(project string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers--
	if f.of[project]--; f.of[project] == 0 {
		delete(f.of, project)
	}
}

// next returns a project's events behind seq, up to which number they are
// complete, and a channel that closes when there is more.
func (f *Feed) next(ctx context.Context, project string, seq int64) ([]Event, int64, <-chan struct{}, error) {
	f.mu.Lock()
	last, news, ended := f.last, f.news, f.ended
	inMemory := len(f.recent) > 0 && f.recent[0].Seq <= seq+1
	var out []Event
	if inMemory {
		for _, e := range f.recent {
			if e.Seq > seq && e.ProjectID == project {
				out = append(out, e)
			}
		}
	}
	f.mu.Unlock()
	switch {
	case ended:
		return nil, seq, nil, io.EOF
	case inMemory || last <= seq:
		return out, max(last, seq), news, nil
	}
	rows, err := f.after(ctx, seq, project, batch)
	if err != nil {
		return nil, seq, nil, err
	}
	for _, e := range rows {
		if e.Seq <= last {
			out = append(out, e)
		}
	}
	if len(rows) == batch && len(out) > 0 { // there is more at once
		now := make(chan struct{})
		close(now)
		return out, out[len(out)-1].Seq, now, nil
	}
	return out, last, news, nil
}

// stream is one client. It is written to by WriteTo alone.
type stream struct {
	f       *Feed
	ctx     context.Context
	project string
	seq     int64
	until   time.Time
	left    bool
}

// Read implements io.Reader; rest copies with WriteTo.
func (s *stream) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (s *stream) Close() error {
	if !s.left {
		s.left = true
		s.f.leave(s.project)
	}
	return nil
}

// WriteTo writes events as they come, until the client goes, its token ends or
// the service stops.
func (s *stream) WriteTo(w io.Writer) (int64, error) {
	rw, ok := w.(http.ResponseWriter)
	if !ok {
		return 0, fmt.Errorf("a feed needs a response to write to")
	}
	out := &sender{w: rw, c: http.NewResponseController(rw)}
	end := time.NewTimer(time.Until(s.until))
	defer end.Stop()
	idle := time.NewTicker(quiet)
	defer idle.Stop()
	if err := out.send("retry: 1000\nid: " + strconv.FormatInt(s.seq, 10) + "\n\n"); err != nil {
		return out.n, err
	}
	for {
		events, upTo, news, err := s.f.next(s.ctx, s.project, s.seq)
		if err != nil {
			return out.n, nil // the client comes again, and goes on where it was
		}
		var b strings.Builder
		for _, e := range events {
			text, err := json.Marshal(e)
			if err != nil {
				return out.n, err
			}
			fmt.Fprintf(&b, "id: %d\nevent: %s.%s\ndata: %s\n\n", e.Seq, e.Kind, e.Action, text)
		}
		s.seq = upTo
		if b.Len() > 0 {
			if err := out.send(b.String()); err != nil {
				return out.n, err
			}
		}
		select {
		case <-s.ctx.Done():
			return out.n, nil
		case <-end.C:
			return out.n, nil
		case <-news:
		case <-idle.C:
			// The id lets a client of a quiet project go on from here even
			// when what others did meanwhile is forgotten.
			if err := out.send("id: " + strconv.FormatInt(s.seq, 10) + "\n:\n\n"); err != nil {
				return out.n, err
			}
		}
	}
}

type sender struct {
	w http.ResponseWriter
	c *http.ResponseController
	n int64
}

func (s *sender) send(text string) error {
	_ = s.c.SetWriteDeadline(time.Now().Add(writeTimeout)) // where the connection has deadlines
	n, err := io.WriteString(s.w, text)
	s.n += int64(n)
	if err != nil {
		return err
	}
	return s.c.Flush()
}
