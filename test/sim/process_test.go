package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/rest"
)

// process is one life of a process. kill ends it as kill -9 does: from then on
// nothing that its goroutines still try reaches anything.
type process struct {
	w      *world
	name   string
	ctx    context.Context
	cancel context.CancelFunc
	dead   atomic.Bool
	wg     sync.WaitGroup
	mu     sync.Mutex // a part may end by its own error while others are started
	views  []*db.DB
	front  atomic.Pointer[rest.InProcess] // of a control process: its APIs
}

type processKey struct{}

func (w *world) newProcess(name string) *process {
	p := &process{w: w, name: name}
	p.ctx, p.cancel = context.WithCancel(context.WithValue(context.Background(), processKey{}, p))
	w.mu.Lock()
	w.all = append(w.all, p)
	w.mu.Unlock()
	return p
}

func (p *process) kill(why string) {
	if p.dead.Swap(true) {
		return
	}
	p.w.journal.fault("%s is killed %s", p.name, why)
	p.end()
}

// end fences the process off.
func (p *process) end() {
	p.dead.Store(true)
	p.mu.Lock()
	for _, v := range p.views {
		_ = v.Close() // a view's never fails
	}
	p.mu.Unlock()
	p.cancel()
}

// run is a goroutine of the process.
func (p *process) run(f func(ctx context.Context) error) {
	p.wg.Go(func() {
		if err := f(p.ctx); err != nil && p.ctx.Err() == nil {
			p.w.journal.note("      %s: a part ended: %v", p.name, err)
			p.kill("by its own error")
		}
	})
}

// view is the process's own way to a service's database.
func (p *process) view(service string) *db.DB {
	v := p.w.dbs[service].View()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.views = append(p.views, v)
	return v
}

func (p *process) session(user string) *auth.Session {
	return auth.NewSession(auth.SessionOptions{
		AuthURL: "http://cloud/identity/v3", Username: user, Password: func() string { return "secret" }, Transport: p,
	})
}

var errReset = errors.New("connection reset by peer")

// RoundTrip carries the process's requests to a living control process.
func (p *process) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := readAll(req)
	if err != nil {
		return nil, err
	}
	if p.dead.Load() {
		return nil, errReset
	}
	if strings.HasPrefix(req.URL.Path, "/identity/") {
		return identity(req), nil
	}
	if h := p.w.cutHost(p); h != nil {
		return nil, h.blackhole(req.Context())
	}
	service := strings.SplitN(req.URL.Path, "/", 5)
	place := p.name + " " + req.Method + " " + strings.Join(service[:min(4, len(service))], "/")
	r, rates := p.w.dice.at("http "+place), p.w.rates()
	target := p
	if p.front.Load() == nil || r.IntN(4) == 0 {
		if target = p.w.pick(r.IntN(1000)); target == nil {
			return nil, errors.New("connection refused")
		}
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	n := r.IntN(1000)
	hit := func(permille int) bool { n -= permille; return n < 0 && n >= -permille }
	switch {
	case hit(rates.HTTPLose):
		p.w.journal.fault("lost: %s", place)
		return nil, errReset
	case hit(rates.HTTPLoseAnswer):
		p.w.journal.fault("lost the answer: %s", place)
		res, err := target.serve(ctx, req, body)
		if err == nil {
			_ = res.Body.Close()
		}
		return nil, errReset
	case hit(rates.HTTPLate):
		d := time.Duration(r.IntN(1500)) * time.Millisecond
		p.w.journal.fault("given up and handled after %v: %s", d, place)
		late := req.Clone(target.ctx)
		target.wg.Go(func() {
			if sleep(target.ctx, d) == nil {
				if res, err := target.serve(target.ctx, late, body); err == nil {
					_ = res.Body.Close()
				}
			}
		})
		return nil, errReset
	case hit(rates.HTTPDelay):
		d := time.Duration(r.IntN(4000)) * time.Millisecond
		if err := sleep(ctx, d); err != nil {
			return nil, err
		}
	}
	return target.serve(ctx, req, body)
}

// serve has a control process answer a request.
func (p *process) serve(ctx context.Context, req *http.Request, body []byte) (*http.Response, error) {
	if p.dead.Load() || p.front.Load() == nil {
		return nil, errReset
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	in := req.Clone(ctx)
	in.Body, in.ContentLength = http.NoBody, 0
	if len(body) > 0 {
		in.Body, in.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	res, err := p.front.Load().RoundTrip(in)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if p.dead.Load() {
		return nil, errReset
	}
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	return res, nil
}

func readAll(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	defer req.Body.Close()
	return io.ReadAll(req.Body)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// identity answers for the identity service, which is pretended and never
// fails: tokens are names.
func identity(req *http.Request) *http.Response {
	body := `{}`
	code := http.StatusOK
	if req.Method == http.MethodPost {
		var entries []string
		for typ, path := range map[string]string{"identity": "/identity/v3", "image": "/image", "network": "/networking", "placement": "/placement", "compute": "/compute/v2.1"} {
			entries = append(entries, fmt.Sprintf(`{"id":%q,"name":%q,"type":%q,"endpoints":[{"id":%q,"interface":"public","region":"RegionOne","region_id":"RegionOne","url":"http://cloud%s"}]}`, typ, typ, typ, typ, path))
		}
		body = `{"token":{"user":{"id":"service","name":"service","domain":{"id":"default","name":"Default"}},"project":{"id":"service","name":"service","domain":{"id":"default","name":"Default"}},` +
			`"roles":[{"id":"admin","name":"admin"},{"id":"service","name":"service"}],"methods":["password"],"catalog":[` + strings.Join(entries, ",") +
			`],"issued_at":"2000-01-01T00:00:00.000000Z","expires_at":"2099-01-01T00:00:00.000000Z"}}`
		code = http.StatusCreated
	}
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"application/json"}, "X-Subject-Token": {tokenService}},
		Body:   io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}
