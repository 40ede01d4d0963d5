package doctor

import (
	"cmp"
	"slices"
	"time"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // something does not work, or is taken by nobody
	Warning Severity = "warning" // a leftover that harms nobody
)

// Finding is one broken thing.
type Finding struct {
	Check    string   `json:"check"` // name of the check, filled in by the engine
	Severity Severity `json:"severity"`
	Service  string   `json:"service"` // filled in by the engine
	Kind     string   `json:"kind"`    // of the object, in the words of its API
	ID       string   `json:"id"`
	Problem  string   `json:"problem"`
	// Fix is what healing does; empty: it is not safe to do without a person.
	Fix string `json:"fix,omitempty"`
	// Command is what a person would run, where there is no Fix.
	Command string `json:"command,omitempty"`
	// Failure is why healing did not succeed.
	Failure string `json:"failure,omitempty"`
}

type key struct{ check, kind, id string }

func (f *Finding) key() key { return key{f.Check, f.Kind, f.ID} }

// Unchecked is something that could not be asked.
type Unchecked struct {
	Check   string `json:"check"`
	Service string `json:"service"`
	What    string `json:"what"` // as in "host h2"
	Reason  string `json:"reason"`
}

// Report is the outcome of a run.
type Report struct {
	At        time.Time   `json:"at"`
	Took      float64     `json:"took_seconds"`
	Checks    int         `json:"checks"`
	Findings  []Finding   `json:"findings"`  // what is broken now
	Healed    []Finding   `json:"healed"`    // what was broken
	Unchecked []Unchecked `json:"unchecked"` //
}

// The exit codes of a run.
const (
	Clean      = 0
	Broken     = 1 // findings are left
	Incomplete = 2 // no findings, but not everything could be checked
)

// Code is the exit code.
func (r *Report) Code() int {
	switch {
	case len(r.Findings) > 0:
		return Broken
	case len(r.Unchecked) > 0:
		return Incomplete
	}
	return Clean
}

func (r *Report) sort() {
	for _, list := range [][]Finding{r.Findings, r.Healed} {
		slices.SortStableFunc(list, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Check, b.Check), cmp.Compare(a.ID, b.ID))
		})
	}
	slices.SortStableFunc(r.Unchecked, func(a, b Unchecked) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.What, b.What), cmp.Compare(a.Check, b.Check))
	})
}
