package feed_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/feed"
)

func TestAllServicesInOneStream(t *testing.T) {
	d1, d2 := dbtest.New(t), dbtest.New(t)
	servers, compute := serve(t, d1)
	ports, network := serve(t, d2)
	all := httptest.NewServer(&feed.All{Feeds: map[string]string{"compute": compute, "network": network}, Client: http.DefaultClient})
	t.Cleanup(all.Close)

	a := follow(t, all.URL, "mine", "")
	for !strings.Contains(a.id, "compute:") || !strings.Contains(a.id, "network:") {
		a.block()
	}
	record(t, d1, servers, "mine", "s1", "BUILD")
	if typ, data := a.event(); typ != "compute/port.update" || !strings.Contains(data, "s1") {
		t.Errorf("%s %s", typ, data)
	}
	record(t, d2, ports, "mine", "p1", "DOWN")
	if typ, data := a.event(); typ != "network/port.update" || !strings.Contains(data, "p1") {
		t.Errorf("%s %s", typ, data)
	}
	place := a.id
	record(t, d1, servers, "mine", "s2", "ACTIVE")
	record(t, d2, ports, "mine", "p2", "ACTIVE")
	b := follow(t, all.URL, "mine", place)
	got := ""
	for range 2 {
		_, data := b.event()
		got += data
	}
	if !strings.Contains(got, `"s2"`) || !strings.Contains(got, `"p2"`) {
		t.Error(got)
	}
	for from, want := range map[string]int{"volume:1": 400, "compute:x": 400, "compute": 400} {
		if f := follow(t, all.URL, "mine", from); f.resp.StatusCode != want {
			t.Errorf("from %s: %d", from, f.resp.StatusCode)
		}
	}
	if f := follow(t, all.URL, "system", ""); f.resp.StatusCode != 403 {
		t.Errorf("without a project: %d", f.resp.StatusCode)
	}
}
