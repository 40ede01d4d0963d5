package feed

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// All is one stream of the feeds of several services, by the services' own
// feeds and the caller's token. An event's id names the place in each, as in
// "compute:12,network:40", and its type begins with the service:
// "compute/server.update".
type All struct {
	// Feeds maps services to the addresses of their feeds.
	Feeds  map[string]string
	Client *http.Client
}

// part is a block of one service's stream.
type part struct {
	service string
	lines   []string
	err     error
}

// ServeHTTP implements http.Handler. What a service refuses is answered as it
// said it.
func (a *All) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "The feed is read by GET.", http.StatusMethodNotAllowed)
		return
	}
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = r.URL.Query().Get("last_event_id")
	}
	at, err := a.places(from)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	parts := make(chan part)
	for _, service := range slices.Sorted(maps.Keys(a.Feeds)) {
		resp, err := a.follow(ctx, service, r.Header.Get("X-Auth-Token"), at[service])
		if err != nil {
			http.Error(w, "The "+service+" service does not answer. Try again.", http.StatusServiceUnavailable)
			return
		}
		if resp.StatusCode != http.StatusOK {
			relay(w, resp)
			return
		}
		wg.Go(func() { read(ctx, service, resp.Body, parts) })
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	out := &sender{w: w, c: http.NewResponseController(w)}
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-parts:
			if p.err != nil || out.send(a.rewrite(p, at)) != nil {
				return // the client comes again, and goes on where it was
			}
		}
	}
}

// places reads "compute:12,network:40".
func (a *All) places(id string) (map[string]string, error) {
	at := map[string]string{}
	for _, one := range strings.FieldsFunc(id, func(r rune) bool { return r == ',' }) {
		service, seq, ok := strings.Cut(one, ":")
		if _, known := a.Feeds[service]; !ok || !known {
			return nil, fmt.Errorf("%q is not an id of this feed", id)
		}
		at[service] = seq
	}
	return at, nil
}

func (a *All) follow(ctx context.Context, service, token, from string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Feeds[service], nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Auth-Token", token)
	if from != "" {
		r.Header.Set("Last-Event-ID", from)
	}
	return a.Client.Do(r)
}

// maxRefusal bounds an error document, in bytes.
const maxRefusal = 64 << 10

func relay(w http.ResponseWriter, resp *http.Response) {
	defer func() { _ = resp.Body.Close() }()
	for _, name := range []string{"Content-Type", "WWW-Authenticate", "Retry-After"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(resp.Body, maxRefusal))
}

// read sends a stream's blocks until it or ctx ends.
func read(ctx context.Context, service string, body io.ReadCloser, parts chan<- part) {
	defer func() { _ = body.Close() }()
	s := bufio.NewScanner(body)
	var lines []string
	give := func(p part) bool {
		select {
		case parts <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for s.Scan() {
		if s.Text() != "" {
			lines = append(lines, s.Text())
			continue
		}
		if !give(part{service: service, lines: lines}) {
			return
		}
		lines = nil
	}
	err := s.Err()
	if err == nil {
		err = io.EOF
	}
	give(part{service: service, err: err})
}

// rewrite makes a block of one service one of the whole stream.
func (a *All) rewrite(p part, at map[string]string) string {
	var b strings.Builder
	for _, l := range p.lines {
		if id, ok := strings.CutPrefix(l, "id: "); ok {
			at[p.service] = id
			var all []string
			for _, service := range slices.Sorted(maps.Keys(at)) {
				all = append(all, service+":"+at[service])
			}
			l = "id: " + strings.Join(all, ",")
		}
		if typ, ok := strings.CutPrefix(l, "event: "); ok {
			l = "event: " + p.service + "/" + typ
		}
		b.WriteString(l + "\n")
	}
	return b.String() + "\n"
}
