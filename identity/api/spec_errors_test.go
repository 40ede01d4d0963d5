package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
)

// undone asks something and undoes whatever it did.
func (c *cloud) undone(d *db.DB, method, path, token, body string, headers ...string) *httptest.ResponseRecorder {
	c.t.Helper()
	var w *httptest.ResponseRecorder
	undo := errors.New("undo")
	err := d.Tx(context.Background(), func(ctx context.Context) error {
		r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
		if token != "" {
			r.Header.Set("X-Auth-Token", token)
		}
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w = httptest.NewRecorder()
		c.api.ServeHTTP(w, r)
		return undo
	})
	if !errors.Is(err, undo) {
		c.t.Fatal(err)
	}
	return w
}

var lastParameter = regexp.MustCompile(`\{\w+\}([^{]*)$`)

// Every operation refuses who has no token (401), who may not (403), and what
// is not there (404), with an error document.
func TestDocumentedErrors(t *testing.T) {
	c := readContract(t)
	d := dbtest.New(t)
	x := newCloud(t, d, nil)
	v := x.world("own")
	stranger, elsewhere := x.team("stranger")
	token := x.login(stranger, "pw", inProject(elsewhere))
	open := map[string]bool{}
	for _, r := range x.api.Routes() {
		open[r.Method+" "+r.Path] = r.Open
	}
	for _, o := range c.ops {
		if o.success() >= 300 || open[strings.Replace(o.String(), "HEAD", "GET", 1)] {
			continue
		}
		ask := func(path, token string) *httptest.ResponseRecorder {
			key := strings.Replace(o.String(), "HEAD", "GET", 1)
			w := x.undone(d, o.method, expand(path, v)+expand(queries()[key], v), token, expand(bodies()[key], v), "X-Subject-Token", v["subject"])
			if o.method != http.MethodHead && w.Code >= 300 {
				checkError(t, httptest.NewRequest(o.method, path, http.NoBody), w)
			}
			return w
		}
		if w := ask(o.path, ""); w.Code != http.StatusUnauthorized {
			t.Errorf("%s without a token: %d %s", o, w.Code, w.Body)
		}
		if w := ask(o.path, token); w.Code != http.StatusForbidden && !o.forStrangers() {
			t.Errorf("%s by a stranger: %d %s", o, w.Code, w.Body)
		}
		absent := lastParameter.ReplaceAllString(o.path, "absent$1")
		if w := ask(absent, x.admin); absent != o.path && w.Code != http.StatusNotFound && !o.makesIt() {
			t.Errorf("%s of what is not there: %d %s", o, w.Code, w.Body)
		}
	}
}

// forStrangers lists what everybody with a token may ask: about oneself, and
// what is no secret (Keystone's default policies say so).
func (o *operation) forStrangers() bool {
	return regexp.MustCompile(`^(GET|HEAD) /v3/((auth|OS-FEDERATION)/(projects|domains|system|catalog)|credentials|limits(/model)?|(registered_limits|regions)(/{\w+})?)$`).MatchString(o.String())
}

// makesIt lists operations on what is not there that are not refused with 404:
// PUT makes what has an id that people choose, groups and options of a domain's
// configuration that do not exist are forbidden, and what is a user's alone is
// nobody's where there is no user.
func (o *operation) makesIt() bool {
	return regexp.MustCompile(`^PUT .*/({(idp|protocol|mapping|sp|region)_id}|tags/{value})$`).MatchString(o.String()) ||
		strings.Contains(o.path, "/config/{group}") || strings.Contains(o.path, "/access_rules") || o.String() == "POST /v3/users/{user_id}/application_credentials"
}
