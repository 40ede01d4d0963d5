package chaos

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// kind is a sort of thing that the load makes.
type kind string

const (
	serverKind     kind = "server"
	portKind       kind = "port"
	floatingIPKind kind = "floating IP"
	imageKind      kind = "image"
)

// newKey makes an Idempotency-Key.
func newKey() string { return uuid.NewString() }

// entry is one thing that was asked for, and what was answered.
type entry struct {
	kind kind
	name string // unique; how it is told from what nobody asked for
	id   string
	// made and gone say that the create, and the delete, was acknowledged.
	made, gone bool
	busy       bool // a worker is at it
	kept       bool // not for the load to delete
}

// ledger is what was acknowledged to the load: in the end the cloud must have
// exactly this.
type ledger struct {
	mu      sync.Mutex
	entries map[string]*entry // by name
	acks    int
	doubts  []string // requests whose answer never came
	refused []string // requests that were refused, though nothing was wrong with them
}

func newLedger() *ledger { return &ledger{entries: map[string]*entry{}} }

// ask notes that something is about to be created.
func (l *ledger) ask(k kind, name string) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &entry{kind: k, name: name, busy: true}
	l.entries[name] = e
	return e
}

// created notes the acknowledgement, or that the cloud refused: then there
// must be nothing.
func (l *ledger) created(e *entry, id string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.busy = false
	switch {
	case err == nil:
		e.id, e.made = id, true
		l.acks++
	case code(err) == 0 || transient(err):
		l.doubts = append(l.doubts, "create "+string(e.kind)+" "+e.name+": "+err.Error())
	default:
		l.refused = append(l.refused, "create "+string(e.kind)+" "+e.name+": "+err.Error())
	}
}

// deleted notes the acknowledgement of a delete.
func (l *ledger) deleted(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.busy = false
	switch {
	case err == nil:
		e.gone = true
		l.acks++
	case code(err) == 0 || transient(err):
		l.doubts = append(l.doubts, "delete "+string(e.kind)+" "+e.name+": "+err.Error())
	default:
		l.refused = append(l.refused, "delete "+string(e.kind)+" "+e.name+": "+err.Error())
	}
}

// pick takes the oldest thing of a kind that exists and that nobody works at.
func (l *ledger) pick(k kind) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var best *entry
	for _, e := range l.entries {
		if e.kind == k && e.made && !e.gone && !e.busy && !e.kept && (best == nil || e.name < best.name) {
			best = e
		}
	}
	if best != nil {
		best.busy = true
	}
	return best
}

// hold keeps others from an entry, as pick does.
func (l *ledger) hold(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.busy = true
}

// count is how many things of a kind should exist or are being made.
func (l *ledger) count(k kind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.entries {
		if e.kind == k && !e.gone && !e.kept && (e.made || e.busy) {
			n++
		}
	}
	return n
}

// acknowledged is the number of acknowledgements so far.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

// of lists the entries of a kind by name.
func (l *ledger) of(k kind) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []entry
	for _, e := range slices.SortedFunc(maps.Values(l.entries), func(a, b *entry) int { return cmp.Compare(a.name, b.name) }) {
		if e.kind == k {
			out = append(out, *e)
		}
	}
	return out
}
