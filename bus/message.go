package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// Message is a request as it travels; every implementation sends this document.
type Message struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	Key       string            `json:"key,omitempty"`
	RequestID string            `json:"request_id,omitempty"`
	Trace     map[string]string `json:"trace,omitempty"`
	// Timeout is what is left of the caller's time, relative as clocks differ;
	// 0: no deadline.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Record asks for the steps that the handler records.
	Record  bool            `json:"record,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`
}

// Reply is an answer as it travels.
type Reply struct {
	Payload json.RawMessage  `json:"payload,omitempty"`
	Fault   *WireFault       `json:"fault,omitempty"`
	Steps   []obs.StepRecord `json:"steps,omitempty"`
}

// WireFault is an error as it travels. Cause is for the caller's log.
type WireFault struct {
	Kind    fault.Kind `json:"kind"`
	Type    string     `json:"type,omitempty"`
	Message string     `json:"message"`
	Cause   string     `json:"cause,omitempty"`
}

// NewMessage encodes a request with what travels of ctx.
func NewMessage(ctx context.Context, method, key string, in any) (*Message, error) {
	if !ValidName(method) {
		return nil, fmt.Errorf("bus: %q cannot name a method", method)
	}
	payload, err := encode(in)
	if err != nil {
		return nil, err
	}
	m := &Message{
		ID: uuid.NewString(), Method: method, Key: key, RequestID: obs.RequestID(ctx),
		Trace: map[string]string{}, Record: obs.RecorderFrom(ctx) != nil, Payload: payload,
	}
	obs.InjectMap(ctx, m.Trace)
	return m, nil
}

// Context returns the context of m's handler: base with the request id, the
// trace context, a Recorder if one is wanted. The deadline is the caller's
// matter, as it began to run when the message arrived.
func (m *Message) Context(base context.Context) context.Context {
	ctx := obs.ExtractMap(base, m.Trace)
	if m.RequestID != "" {
		ctx = obs.WithRequestID(ctx, m.RequestID)
	}
	if m.Record {
		ctx = obs.WithRecorder(ctx, new(obs.Recorder))
	}
	return ctx
}

// Dispatch runs h on m, in a span, and makes the reply. ctx is from
// m.Context, with the deadline. A panic of the handler becomes an error whose
// cause has the stack. The bus logs the fault of a message nobody awaits.
func (m *Message) Dispatch(ctx context.Context, h Handler) *Reply {
	ctx, end := obs.StartSpan(ctx, "bus "+m.Method)
	out, err := m.protect(ctx, h)
	end(err)
	r := &Reply{}
	if rec := obs.RecorderFrom(ctx); rec != nil {
		r.Steps = rec.Records()
	}
	if err == nil {
		r.Payload, err = encode(out)
	}
	r.Fault = NewWireFault(err)
	return r
}

func (m *Message) protect(ctx context.Context, h Handler) (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			stack := debug.Stack()
			err = fmt.Errorf("bus: handler of %s panicked: %v\n%s", m.Method, p, stack[:min(len(stack), 4096)])
		}
	}()
	return h(ctx, m.Method, func(v any) error { return decode(m.Payload, v) })
}

// Read fills out with the answer, or returns the handler's error, and adds the
// handler's steps to ctx's Recorder.
func (r *Reply) Read(ctx context.Context, out any) error {
	if rec := obs.RecorderFrom(ctx); rec != nil {
		rec.Add(r.Steps...)
	}
	if r.Fault != nil {
		return r.Fault.Err()
	}
	if out == nil {
		return nil
	}
	return decode(r.Payload, out)
}

// NewWireFault turns err into what travels; nil for nil. An error that is no
// fault travels as Internal with its text as the cause.
func NewWireFault(err error) *WireFault {
	if err == nil {
		return nil
	}
	f, ok := fault.As(err)
	if !ok {
		w := &WireFault{Kind: fault.Internal, Message: "An internal error occurred.", Cause: err.Error()}
		if errors.Is(err, context.DeadlineExceeded) {
			w.Kind, w.Message = fault.Unavailable, "The operation did not end in time."
		}
		return w
	}
	w := &WireFault{Kind: fault.KindOf(err), Type: f.Type, Message: f.Message}
	if text := err.Error(); text != f.Message {
		w.Cause = text
	}
	return w
}

// Err turns w back into an error, a *fault.Error; nil for nil.
func (w *WireFault) Err() error {
	if w == nil {
		return nil
	}
	e := &fault.Error{Kind: w.Kind, Type: w.Type, Message: w.Message}
	if w.Cause != "" {
		e.Err = errors.New(w.Cause)
	}
	return e
}

// NobodyServes is the error of a call or cast to a target without a server.
func NobodyServes(t Target) error {
	return fault.Unavailablef("No server of %s is available.", t)
}

// NoAnswer is the error of a call whose context ended: fault.Unavailable after
// the deadline, the context's own error when the caller gave up.
func NoAnswer(ctx context.Context, t Target, method string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("bus: %s of %s: %w", method, t, context.Canceled)
	}
	return fault.Wrap(fault.Unavailable, context.DeadlineExceeded, "%s of %s did not answer in time.", method, t)
}

// NewEvent encodes a notification.
func NewEvent(ctx context.Context, event string, payload any) (*Event, error) {
	if !ValidName(event) {
		return nil, fmt.Errorf("bus: %q cannot name an event", event)
	}
	data, err := encode(payload)
	if err != nil {
		return nil, err
	}
	return &Event{ID: uuid.NewString(), Type: event, Time: time.Now().UTC(), RequestID: obs.RequestID(ctx), Payload: data}, nil
}

func encode(v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("bus: %w", err)
	}
	if len(data) > MaxMessage {
		return nil, fault.New(fault.TooLarge, "The message has %d bytes; at most %d fit.", len(data), MaxMessage)
	}
	return data, nil
}

func decode(data json.RawMessage, v any) error {
	if len(data) == 0 {
		data = json.RawMessage("null")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return fault.Wrap(fault.Invalid, err, "The message cannot be decoded.")
	}
	return nil
}
