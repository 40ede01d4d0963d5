package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/rest/resttest"
)

// random is what differs at each run beside ids and times.
var random = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`instance-[0-9a-f]{8}`), "instance-00000000"},
	{regexp.MustCompile(`"r-[0-9a-f]{8}"`), `"r-00000000"`},
	{regexp.MustCompile(`"duration_ns":\d+`), `"duration_ns":1`},
	{regexp.MustCompile(`"uptime":" [^"]*"`), `"uptime":" up"`},
}

// start gives each file of exchanges a service whose sagas have ended before
// each request is answered.
func start(t *testing.T) (http.Handler, map[string]string) {
	c := computetest.New(t, computetest.Options{DB: dbtest.New(t)})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Wait("sagas end", func() bool { ok, err := c.Tasks.Idle(context.Background()); return ok && err == nil })
		rec := httptest.NewRecorder()
		c.API.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		for _, x := range random {
			body = x.re.ReplaceAll(body, []byte(x.with))
		}
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		if len(body) > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(body)
	}), map[string]string{"admin": computetest.Admin, "member": computetest.Member, "reader": computetest.Reader, "foreign": computetest.Foreign, "service": computetest.Service}
}

func TestExchanges(t *testing.T) { resttest.Run(t, "testdata", start) }

func TestCovered(t *testing.T) {
	resttest.Covered(t, computetest.New(t, computetest.Options{DB: dbtest.New(t)}).API, "testdata")
}
