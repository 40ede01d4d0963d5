package rest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// IdempotencyKey is the header by which a client names a request that it may
// repeat (draft-ietf-httpapi-idempotency-key-header).
const IdempotencyKey = "Idempotency-Key"

// maxIdempotencyKey bounds a key, in bytes.
const maxIdempotencyKey = 255

// recallTries bounds how many ids of a seed are looked for.
const recallTries = 16

// handle calls the handler, or for a POST with an Idempotency-Key answers as
// the first such request was answered.
func (a *API) handle(r *Request) (any, error) {
	key := strings.TrimSpace(r.Header(IdempotencyKey))
	who := r.Caller()
	if key == "" || a.opts.Once == nil || who == nil || r.HTTP.Method != http.MethodPost || r.route.RawBody || r.route.Open {
		return r.route.Handler(r)
	}
	if len(key) > maxIdempotencyKey {
		return nil, fault.Invalidf("The Idempotency-Key is longer than %d bytes. Use a random UUID.", maxIdempotencyKey)
	}
	o := a.opts.Once
	c, res, err := o.begin(r.Context(), onceID(a.opts.Service, who.User.ID, scopeOf(who), key), onceOwner(who), key, fingerprint(r))
	if err != nil || res != nil {
		return res, err
	}
	release := o.hold(r.Context(), c)
	defer release()
	if c.again {
		if res := a.recall(r, c); res != nil {
			a.store(r, c, res)
			return res, nil
		}
	}
	r.HTTP = r.HTTP.WithContext(db.WithSeed(r.Context(), c.seed))
	v, err := r.route.Handler(r)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), onceHeld)
	defer cancel()
	if err != nil {
		end := o.giveUp
		if code := a.opts.Errors.Status(fault.KindOf(err)); code >= http.StatusInternalServerError {
			end = o.letGo
		}
		if err := end(ctx, c); err != nil {
			a.warn(r, "an idempotency key was not given up", err)
		}
		return nil, err
	}
	out, err := a.render(r, v)
	if err != nil {
		a.store(r, c, &Response{}) // it was done
		return nil, err
	}
	a.store(r, c, out)
	return out, nil
}

// scopeOf tells apart what one user may act as. A token that was made from a
// trust or an application credential gets no answers that others of the user
// got.
func scopeOf(who *auth.Identity) string {
	scope := who.Project.ID + "/" + who.Domain.ID
	if who.System {
		scope = "system"
	}
	return scope + "/" + who.TrustID + "/" + who.AppCredentialID
}

// fingerprint tells requests with the same key apart. JSON that says the same
// in other words is another request.
func fingerprint(r *Request) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%s\x00", r.HTTP.URL.Path, r.HTTP.URL.RawQuery, r.version)
	_, _ = h.Write(r.body)
	return hex.EncodeToString(h.Sum(nil))
}

// render is what write will send, or nil for a stream, which is not kept.
func (a *API) render(r *Request, v any) (*Response, error) {
	out, ok := v.(*Response)
	if !ok {
		out = &Response{Body: v}
	}
	if out.Stream != nil {
		return out, nil
	}
	cp := Response{Status: out.Status, Header: out.Header.Clone()}
	if cp.Header == nil {
		cp.Header = http.Header{}
	}
	switch b := out.Body.(type) {
	case nil:
	case []byte:
		cp.Body = b
	default:
		text, err := encode(b)
		if err != nil {
			return nil, err
		}
		cp.Body = text
		if r.header.Get("Content-Type") == "" && cp.Header.Get("Content-Type") == "" {
			cp.Header.Set("Content-Type", "application/json")
		}
	}
	if cp.Status == 0 {
		cp.Status = r.route.Status
	}
	if cp.Status == 0 {
		cp.Status = http.StatusOK
		if cp.Body == nil {
			cp.Status = http.StatusNoContent
		}
	}
	return &cp, nil
}

// store keeps an answer: of one that is a stream, no JSON or too long, and of one
// that the database does not take, the status and the headers. If those cannot be
// kept either, the next request with the key finds by its ids what this one made.
func (a *API) store(r *Request, c *claim, out *Response) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), onceHeld)
	defer cancel()
	k := kept{Header: r.header.Clone()}
	k.Header.Del("X-Openstack-Request-Id") // each request has its own
	k.Header.Del(a.opts.RequestIDHeader)
	for name, v := range out.Header {
		k.Header[name] = v
	}
	if b, ok := out.Body.([]byte); ok && len(b) > 0 && len(b) <= maxOnceAnswer && json.Valid(b) {
		k.Body = b
	}
	status := cmp.Or(out.Status, r.route.Status, http.StatusOK)
	err := a.opts.Once.keep(ctx, c, status, k)
	if err != nil && len(k.Body) > 0 {
		k.Body = nil
		if again := a.opts.Once.keep(ctx, c, status, k); again == nil {
			a.warn(r, "of an answer only the status was kept for its idempotency key", err)
			return
		}
	}
	if err != nil {
		a.warn(r, "an answer was not kept for its idempotency key", err)
	}
}

func (a *API) warn(r *Request, message string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	a.opts.Log.LogAttrs(r.Context(), slog.LevelWarn, message, slog.String("path", r.HTTP.URL.Path), slog.String("error", text))
}

// recall looks for what an earlier request with the same key made before its
// process ended, and answers as if it were made now; nil: it made nothing. What
// only the first answer could tell (a password that was made) is lost.
func (a *API) recall(r *Request, c *claim) *Response {
	var body map[string]json.RawMessage
	if json.Unmarshal(r.body, &body) != nil {
		return nil
	}
	for n := range uint64(recallTries) {
		first := a.show(r, db.SeededID(c.seed, n))
		if first == nil {
			continue
		}
		doc := first
		for name, v := range body { // several in one request
			var list []json.RawMessage
			if len(body) != 1 || json.Unmarshal(v, &list) != nil {
				continue
			}
			all := []json.RawMessage{only(first)}
			for i := 1; i < len(list); i++ {
				if one := a.show(r, db.SeededID(c.seed, n+uint64(i))); one != nil {
					all = append(all, only(one))
				}
			}
			doc = nil
			if b, err := json.Marshal(map[string]any{name: all}); err == nil {
				doc = b
			}
		}
		status := r.route.Status
		if status == 0 {
			status = http.StatusOK
		}
		return &Response{Status: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: doc}
	}
	return nil
}

// only is the value of a document with one key.
func only(doc []byte) json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(doc, &m) == nil && len(m) == 1 {
		for _, v := range m {
			return v
		}
	}
	return doc
}

// show is the GET of one object of the collection that a request is about, as
// the same caller; nil where there is none. What does not name the id is no
// object of it: placement answers for the allocations of any consumer.
func (a *API) show(r *Request, id string) []byte {
	if a.opts.PlainIDs {
		id = strings.ReplaceAll(id, "-", "")
	}
	hr := r.HTTP.Clone(r.Context())
	hr.Method, hr.Body, hr.ContentLength = http.MethodGet, http.NoBody, 0
	hr.URL.Path, hr.URL.RawPath, hr.URL.RawQuery = strings.TrimRight(r.HTTP.URL.Path, "/")+"/"+id, "", ""
	w := &memory{header: http.Header{}}
	a.ServeHTTP(w, hr)
	if w.code != http.StatusOK || !bytes.Contains(w.body, []byte(id)) {
		return nil
	}
	return w.body
}

// memory is a ResponseWriter that keeps a small answer.
type memory struct {
	header http.Header
	code   int
	body   []byte
}

func (m *memory) Header() http.Header { return m.header }

func (m *memory) WriteHeader(code int) { m.code = code }

func (m *memory) Write(p []byte) (int, error) {
	m.body = append(m.body, p...)
	return len(p), nil
}

// SetReadDeadline is for http.ResponseController: there is no body to read.
func (m *memory) SetReadDeadline(time.Time) error { return nil }
