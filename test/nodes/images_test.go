package nodes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestImages uploads images to two control nodes, each with a disk of its own,
// and loses one after the other: what was acknowledged is there, and what was
// deleted while a node was away goes when it is back.
func TestImages(t *testing.T) {
	s := newSite(t, os.Getenv("TROPO_TEST_POSTGRES"))
	c1, c2 := s.machine("c1", 1), s.machine("c2", 2)
	c1.founder = true
	c1.up()
	c2.joins(c1, "control")
	c2.up()
	data := bytes.Repeat([]byte("no known format "), 1<<16)
	token := c1.login()
	var id string
	var first []string
	c1.eventually("an image that both nodes have", func() error {
		id = c1.newImage(token)
		if code, text := c1.data("PUT", id, token, data); code != 204 {
			return fmt.Errorf("upload: %d %s", code, text)
		}
		if first = shared(c1, c2); len(first) == 0 { // the other node was not known yet
			c1.ask("DELETE", "/image/v2/images/"+id, token, "")
			return errors.New("a copy is missing")
		}
		return nil
	})
	c1.kill()
	c2.eventually("the copy", func() error {
		code, text := c2.data("GET", id, c2.login(), nil)
		if code != 200 || text != string(data) {
			return fmt.Errorf("download: %d, %d bytes", code, len(text))
		}
		return nil
	})
	// One node is all there is: the upload waits until the other counts as
	// dead, and is made good when it is back.
	token = c2.login()
	second := c2.newImage(token)
	if code, text := c2.data("PUT", second, token, data[:1000]); code != 204 {
		t.Fatalf("upload with a node away: %d %s", code, text)
	}
	if code, _, text := c2.ask("DELETE", "/image/v2/images/"+id, token, ""); code != 204 {
		t.Fatalf("delete: %d %s", code, text)
	}
	c1.up()
	c1.eventually("the deletion and the second image on the node that was away", func() error {
		if has, both := c1.files(), shared(c1, c2); len(has) != 1 || len(both) != 1 || both[0] == first[0] {
			return fmt.Errorf("it has %v, of which both have %v", has, both)
		}
		return nil
	})
	c2.kill()
	c1.eventually("the copy that was made later", func() error {
		code, text := c1.data("GET", second, c1.login(), nil)
		if code != 200 || text != string(data[:1000]) {
			return fmt.Errorf("download: %d, %d bytes", code, len(text))
		}
		return nil
	})
}

func (m *machine) newImage(token string) string {
	m.t.Helper()
	code, _, text := m.ask("POST", "/image/v2/images", token, `{"name": "one", "disk_format": "raw", "container_format": "bare"}`)
	var doc struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || code != 201 {
		m.t.Fatalf("image: %d %s", code, text)
	}
	return doc.ID
}

// data uploads or downloads an image's data.
func (m *machine) data(method, id, token string, body []byte) (int, string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+m.address+":5000/image/v2/images/"+id+"/file", bytes.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("X-Auth-Token", token)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

// files names the image files of a control node.
func (m *machine) files() (names []string) {
	m.t.Helper()
	list, err := os.ReadDir(m.path("images"))
	if err != nil {
		m.t.Fatal(err)
	}
	for _, f := range list {
		names = append(names, f.Name())
	}
	return names
}

// shared names the image files that two nodes have: what is deleted, or not yet
// copied, one of them may have alone for a while.
func shared(a, b *machine) []string {
	has := b.files()
	return slices.DeleteFunc(a.files(), func(name string) bool { return !slices.Contains(has, name) || strings.HasSuffix(name, ".part") })
}
