package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client calls the APIs as a careful program of a user does: it takes the
// control nodes in turn, and where an answer is lost it asks the next one the
// same again, under the same Idempotency-Key.
type client struct {
	from     *machine
	http     *http.Client
	controls []string // "address:port"
	password string
	next     atomic.Int64

	mu      sync.Mutex
	token   string
	suspect map[string]time.Time // control nodes that did not answer, and when

	stats counter
}

// counter counts what becomes of requests.
type counter struct {
	mu sync.Mutex
	stats
}

// stats are counts of requests.
type stats struct {
	requests int           // answered at last
	retries  int           // attempts beyond the first of each
	most     int           // attempts of the request that took most of them
	slowest  time.Duration // first attempt to answer
	broken   map[string]int
	story    []string // of the attempts of the request that took most of them
}

const (
	// attemptTimeout is when an attempt counts as lost, uploadTimeout one that
	// sends an image.
	attemptTimeout = 10 * time.Second
	uploadTimeout  = 2 * time.Minute
	// suspicion is how long a control node that did not answer is not asked,
	// as a balancer would do it.
	suspicion = 5 * time.Second
)

// mounts are the paths of the services.
const (
	identityPath  = "/identity/v3"
	imagePath     = "/image/v2"
	placementPath = "/placement"
	computePath   = "/compute/v2.1"
	networkPath   = "/networking/v2.0"
)

func newClient(from *machine, password string, controls []string) *client {
	return &client{
		from: from, password: password, controls: controls, suspect: map[string]time.Time{},
		http: &http.Client{Transport: &http.Transport{
			DialContext: from.dial, MaxIdleConnsPerHost: 8, IdleConnTimeout: 5 * time.Second,
		}},
	}
}

// statusError is an answer that is none of those wanted.
type statusError struct {
	code int
	what string
}

func (e *statusError) Error() string { return e.what }

// code is the status of an answer that was not wanted, or 0.
func code(err error) int {
	var s *statusError
	if errors.As(err, &s) {
		return s.code
	}
	return 0
}

// request is one call.
type request struct {
	method, path string
	in           any       // JSON body
	raw          []byte    // or bytes
	out          any       // filled from the answer
	key          string    // Idempotency-Key of a create
	header       [2]string // one more
	only         string    // this control node alone
}

// do calls until an answer comes that says something: not a lost connection,
// not 502, 503, 504. It gives up with ctx.
func (c *client) do(ctx context.Context, r request) error {
	begin, attempts := time.Now(), 0
	var story []string
	for {
		attempts++
		tried := time.Since(begin)
		err := c.once(ctx, r)
		if !transient(err) {
			c.stats.count(attempts, time.Since(begin), story)
			return err
		}
		c.stats.lost(err)
		if len(story) < 10 {
			story = append(story, fmt.Sprintf("%s %s: %s after %.1f s: %v", r.method, r.path, begin.Add(tried).Format("15:04:05.000"), time.Since(begin).Seconds(), err))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s %s: gave up after %d attempts in %s: %w", r.method, r.path, attempts, time.Since(begin).Round(time.Second), err)
		case <-time.After(min(time.Duration(attempts)*200*time.Millisecond, 2*time.Second)):
		}
	}
}

// transient reports whether the same should be asked again.
func transient(err error) bool {
	if err == nil {
		return false
	}
	switch code(err) {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// once makes one attempt, with a new token where the old one is refused.
func (c *client) once(ctx context.Context, r request) error {
	at := r.only
	if at == "" {
		at = c.choose(avoided(ctx))
	}
	err := c.at(ctx, at, r)
	if transient(err) {
		c.mu.Lock()
		c.suspect[at] = time.Now()
		c.mu.Unlock()
	}
	return err
}

type avoidKey struct{}

// avoiding has requests sent to other control nodes than n, which may be nil.
func avoiding(ctx context.Context, n *node) context.Context {
	if n == nil || !n.is("control") {
		return ctx
	}
	return context.WithValue(ctx, avoidKey{}, n.endpoint())
}

func avoided(ctx context.Context) string {
	at, _ := ctx.Value(avoidKey{}).(string)
	return at
}

// choose takes the control nodes in turn, without those under suspicion; where
// all are, the one for which it began first. avoid is not asked.
func (c *client) choose(avoid string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, best := int(c.next.Add(1)), ""
	for i := range c.controls {
		at := c.controls[(first+i)%len(c.controls)]
		if at == avoid && len(c.controls) > 1 {
			continue
		}
		if time.Since(c.suspect[at]) > suspicion {
			return at
		}
		if best == "" || c.suspect[at].Before(c.suspect[best]) {
			best = at
		}
	}
	return best
}

func (c *client) at(ctx context.Context, at string, r request) error {
	limit := attemptTimeout
	if r.raw != nil {
		limit = uploadTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	token, err := c.login(ctx, at, "")
	if err != nil {
		return err
	}
	err = c.send(ctx, at, token, r)
	if code(err) == http.StatusUnauthorized {
		if token, err = c.login(ctx, at, token); err == nil {
			err = c.send(ctx, at, token, r)
		}
	}
	return err
}

// login returns a token other than old.
func (c *client) login(ctx context.Context, at, old string) (string, error) {
	c.mu.Lock()
	have := c.token
	c.mu.Unlock()
	if have != old {
		return have, nil
	}
	body := fmt.Sprintf(`{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"id":"default"},"password":%q}}},
		"scope":{"project":{"name":"admin","domain":{"id":"default"}}}}}`, c.password)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at+identityPath+"/auth/tokens", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusCreated {
		return "", &statusError{res.StatusCode, fmt.Sprintf("log in at %s: %s: %.300s", at, res.Status, said)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = res.Header.Get("X-Subject-Token")
	return c.token, nil
}

func (c *client) send(ctx context.Context, at, token string, r request) error {
	body := r.raw
	if r.in != nil {
		var err error
		if body, err = json.Marshal(r.in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+at+r.path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", token)
	req.Header.Set("Accept", "application/json")
	if r.in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.raw != nil {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if r.header[0] != "" {
		req.Header.Set(r.header[0], r.header[1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return err // the answer was cut off
	}
	if res.StatusCode >= 300 {
		return &statusError{res.StatusCode, fmt.Sprintf("%s %s at %s: %s: %.400s", r.method, r.path, at, res.Status, said)}
	}
	if r.out == nil || len(said) == 0 {
		return nil
	}
	if err := json.Unmarshal(said, r.out); err != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	return nil
}

// get is do for a GET.
func (c *client) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, request{method: http.MethodGet, path: path, out: out})
}

// create is do for a POST that makes something, under a key.
func (c *client) create(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, request{method: http.MethodPost, path: path, in: in, out: out, key: newKey()})
}

// remove is do for a DELETE; what is gone already is no error.
func (c *client) remove(ctx context.Context, path string) error {
	err := c.do(ctx, request{method: http.MethodDelete, path: path})
	if code(err) == http.StatusNotFound {
		return nil
	}
	return err
}

func (s *counter) count(attempts int, took time.Duration, story []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.retries += attempts - 1
	if attempts > s.most {
		s.most, s.story = attempts, story
	}
	s.slowest = max(s.slowest, took)
}

// lost notes why an attempt had no answer that says something.
func (s *counter) lost(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = map[string]int{}
	}
	why := "connection lost"
	if c := code(err); c != 0 {
		why = fmt.Sprint(c)
	} else if errors.Is(err, context.DeadlineExceeded) {
		why = "no answer"
	}
	s.broken[why]++
}

// take returns the counts since the last take.
func (s *counter) take() stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	s.stats = stats{}
	return out
}
