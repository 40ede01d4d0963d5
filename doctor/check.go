package doctor

import (
	"context"
	"sync"

	"github.com/tropocloud/tropo/fault"
)

// Check looks for one kind of damage.
type Check struct {
	Name    string // unique, as in "server-stuck"
	Service string // whose damage it is
	// Find adds what is broken to the look. What cannot be asked is told by
	// Look.Unchecked; an error says that nothing could be checked.
	Find func(ctx context.Context, l *Look) error
	// Heal mends one finding that has a Fix. It reads again just before and
	// changes only what is still as found; it is idempotent. Nil where no
	// finding of the check has a Fix.
	Heal func(ctx context.Context, f Finding) error
}

// Look is one pass over all checks. Facts that several checks need are read
// once in it.
type Look struct {
	check     *Check
	findings  []Finding
	unchecked []Unchecked

	mu    sync.Mutex
	facts map[string]any
}

// Found adds a finding.
func (l *Look) Found(f Finding) {
	f.Check, f.Service = l.check.Name, l.check.Service
	if f.Severity == "" {
		f.Severity = Error
	}
	l.findings = append(l.findings, f)
}

// Unchecked notes that what could not be asked, and why.
func (l *Look) Unchecked(what string, reason error) {
	l.unchecked = append(l.unchecked, Unchecked{Check: l.check.Name, Service: l.check.Service, What: what, Reason: text(reason)})
}

// Fact returns what read yields, asking once per look. name is unique among
// all services.
func Fact[T any](ctx context.Context, l *Look, name string, read func(ctx context.Context) (T, error)) (T, error) {
	type fact struct {
		v   T
		err error
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if have, ok := l.facts[name].(fact); ok {
		return have.v, have.err
	}
	v, err := read(ctx)
	l.facts[name] = fact{v, err}
	return v, err
}

// text is an error in the words of its fault, with the cause that only
// operators see.
func text(err error) string {
	if f, ok := fault.As(err); ok && f.Err == nil {
		return f.Message
	}
	return err.Error()
}
