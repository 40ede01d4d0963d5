package sim

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// journal remembers what happened, to be printed if the history goes wrong.
type journal struct {
	mu    sync.Mutex
	start time.Time
	lines []line
	// counts for the summary
	ops, faults int
}

type line struct {
	at   time.Time
	text string
	log  *slog.Record // of a service; printed late, as it costs
	who  []slog.Attr
}

func (j *journal) add(l line) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l.at = time.Now()
	j.lines = append(j.lines, l)
}

// note adds a line.
func (j *journal) note(format string, args ...any) { j.add(line{text: fmt.Sprintf(format, args...)}) }

// fault adds a line about a fault that was injected.
func (j *journal) fault(format string, args ...any) {
	j.mu.Lock()
	j.faults++
	j.mu.Unlock()
	j.note("      fault: "+format, args...)
}

// String prints everything.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b strings.Builder
	for _, l := range j.lines {
		fmt.Fprintf(&b, "%10.3f ", l.at.Sub(j.start).Seconds())
		if l.log == nil {
			b.WriteString(l.text + "\n")
			continue
		}
		fmt.Fprintf(&b, "      %s %s", l.log.Level, l.log.Message)
		for _, a := range l.who {
			fmt.Fprintf(&b, " %s", a)
		}
		l.log.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s", a); return true })
		b.WriteByte('\n')
	}
	return b.String()
}

// logger gives a process's log to the journal.
func (j *journal) logger(who string) *slog.Logger {
	return slog.New(&handler{j: j, with: []slog.Attr{slog.String("process", who)}})
}

type handler struct {
	j    *journal
	with []slog.Attr
}

var _ slog.Handler = (*handler)(nil)

func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "request" {
		return nil // the access log
	}
	r = r.Clone()
	h.j.add(line{log: &r, who: h.with})
	return nil
}

func (h *handler) WithAttrs(a []slog.Attr) slog.Handler {
	return &handler{h.j, append(append([]slog.Attr{}, h.with...), a...)}
}

func (h *handler) WithGroup(string) slog.Handler { return h }
