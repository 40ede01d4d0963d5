package obs

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// StepRecord is one step of a server's birth as it happened.
type StepRecord struct {
	Step     int           `json:"step"` // 1 to 29, see Steps29; 0: a step of tropo's own
	Name     string        `json:"name"`
	Part     string        `json:"part,omitempty"`   // who did it: "nova-api"
	Detail   string        `json:"detail,omitempty"` // what is special about this one
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Note     string        `json:"note,omitempty"`
	Error    string        `json:"error,omitempty"`
}

// Notes for steps that tropo's design answers without a call of its own.
const (
	NoteCached    = "cached"     // a value that was asked for before
	NoteInProcess = "in-process" // a handler in the same process
	NoteSkipped   = "skipped"    // nothing to do for this server
)

// maxRecords bounds a Recorder; a birth has some 40 steps.
const maxRecords = 1000

// Recorder collects steps. The zero value is ready, and it is safe for
// concurrent use. It keeps the first 1000 records.
type Recorder struct {
	mu      sync.Mutex
	records []StepRecord
}

// Add appends records.
func (r *Recorder) Add(records ...StepRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	room := maxRecords - len(r.records)
	r.records = append(r.records, records[:min(room, len(records))]...)
}

// Records returns a copy, by start, then by step.
func (r *Recorder) Records() []StepRecord {
	r.mu.Lock()
	out := slices.Clone(r.records)
	r.mu.Unlock()
	slices.SortStableFunc(out, func(a, b StepRecord) int {
		if c := a.Start.Compare(b.Start); c != 0 {
			return c
		}
		return a.Step - b.Step
	})
	return out
}

// WithRecorder returns ctx with r, to which Step then adds.
func WithRecorder(ctx context.Context, r *Recorder) context.Context {
	return context.WithValue(ctx, recorderKey, r)
}

// RecorderFrom returns ctx's recorder or nil.
func RecorderFrom(ctx context.Context) *Recorder {
	r, _ := ctx.Value(recorderKey).(*Recorder)
	return r
}

// StepOption adds to a step's record.
type StepOption func(*StepRecord)

// Part says who does the step, if not the one of Steps29.
func Part(name string) StepOption { return func(r *StepRecord) { r.Part = name } }

// Detail says what is special about this step: a host, an image.
func Detail(text string) StepOption { return func(r *StepRecord) { r.Detail = text } }

// Note marks a step, see NoteCached.
func Note(text string) StepOption { return func(r *StepRecord) { r.Note = text } }

// Step begins step n of a server's birth: a span and, when ctx has a Recorder,
// a record. An empty name is that of Steps29. The result, called once, ends
// the step:
//
//	end := obs.Step(ctx, 10, "")
//	defer func() { end(err) }()
func Step(ctx context.Context, n int, name string, opts ...StepOption) func(error) {
	_, end := StepContext(ctx, n, name, opts...)
	return end
}

// StepContext is Step that also returns the context with the step's span, for
// work that has spans of its own.
func StepContext(ctx context.Context, n int, name string, opts ...StepOption) (context.Context, func(error)) {
	r := StepRecord{Step: n, Name: name, Start: time.Now().UTC()}
	if n >= 1 && n <= len(Steps29) {
		r.Part = Steps29[n-1].Part
		if name == "" {
			r.Name = Steps29[n-1].Name
		}
	}
	for _, o := range opts {
		o(&r)
	}
	begin := time.Now()
	ctx, endSpan := StartSpan(ctx, r.Name, attribute.Int("tropo.step", n),
		attribute.String("tropo.part", r.Part), attribute.String("tropo.note", r.Note))
	rec := RecorderFrom(ctx)
	return ctx, func(err error) {
		endSpan(err)
		if rec == nil {
			return
		}
		r.Duration = time.Since(begin)
		if err != nil {
			r.Error = err.Error()
		}
		rec.Add(r)
	}
}
