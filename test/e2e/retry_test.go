package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends a request with the admin's token.
func (c *cloud) raw(ctx context.Context, method, path, body string, header http.Header) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.listen+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.Header.Set("X-Auth-Token", c.compute.Token())
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// TestRetryAndFollow repeats requests by their keys, and follows the changes
// over a restart.
func TestRetryAndFollow(t *testing.T) {
	c := newCloud(t)
	c.up()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()

	stream := c.raw(ctx, http.MethodGet, "/feed", "", nil)
	defer func() { _ = stream.Body.Close() }()
	if stream.StatusCode != http.StatusOK {
		t.Fatal(stream.Status)
	}
	lines := bufio.NewScanner(stream.Body)
	last := ""
	until := func(s *bufio.Scanner, what string) {
		t.Helper()
		for s.Scan() {
			if id, ok := strings.CutPrefix(s.Text(), "id: "); ok {
				last = id
			}
			if strings.HasPrefix(s.Text(), "data: ") && strings.Contains(s.Text(), what) {
				return
			}
		}
		t.Fatalf("the stream ended before %s: %v", what, s.Err())
	}

	create := func(path, key, body string) (id string, replayed bool) {
		t.Helper()
		resp := c.raw(ctx, http.MethodPost, path, body, http.Header{"Idempotency-Key": {key}})
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode > 299 {
			t.Fatalf("%s: %s %s %v", path, resp.Status, text, err)
		}
		var doc map[string]any
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		for _, v := range doc { // {"network": {…}}; an image stands alone
			if one, ok := v.(map[string]any); ok {
				doc = one
			}
		}
		id, _ = doc["id"].(string)
		return id, resp.Header.Get("Idempotent-Replayed") == "true"
	}
	bodies := map[string]string{
		"/networking/v2.0/networks":        `{"network": {"name": "once"}}`,
		"/networking/v2.0/security-groups": `{"security_group": {"name": "once"}}`,
		"/compute/v2.1/os-server-groups":   `{"server_group": {"name": "once", "policies": ["affinity"]}}`,
		"/image/v2/images":                 `{"name": "once"}`,
		"/identity/v3/projects":            `{"project": {"name": "once"}}`,
	}
	ids := map[string]string{}
	for path, body := range bodies {
		id, replayed := create(path, "key of "+path, body)
		if id == "" || replayed {
			t.Errorf("%s: id %q, replayed %v", path, id, replayed)
		}
		ids[path] = id
	}
	until(lines, ids["/networking/v2.0/networks"])
	place := last

	c.kill()
	c.up()
	for path, body := range bodies {
		id, replayed := create(path, "key of "+path, body)
		if id != ids[path] || !replayed {
			t.Errorf("%s again: id %q, want %q; replayed %v", path, id, ids[path], replayed)
		}
	}
	id, _ := create("/networking/v2.0/networks", "key-2", `{"network": {"name": "later"}}`)
	again := c.raw(ctx, http.MethodGet, "/feed", "", http.Header{"Last-Event-Id": {place}})
	defer func() { _ = again.Body.Close() }()
	until(bufio.NewScanner(again.Body), id)
}
