package app

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

func nothing(context.Context, *System) error { return nil }

func TestOrderPutsNeedsFirst(t *testing.T) {
	got, err := order([]part{{"c", controls, []string{"a", "b"}, nothing}, {"b", controls, []string{"a"}, nothing}, {"a", controls, nil, nothing}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got {
		names = append(names, p.name)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Errorf("order %v", names)
	}
}

func TestOrderRefusesBadTables(t *testing.T) {
	for want, parts := range map[string][]part{
		"need each other":  {{"a", controls, []string{"b"}, nothing}, {"b", controls, []string{"a"}, nothing}},
		"not in the table": {{"a", controls, []string{"b"}, nothing}},
		"stands twice":     {{"a", controls, nil, nothing}, {"a", controls, nil, nothing}},
	} {
		if _, err := order(parts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTheTableIsSound(t *testing.T) {
	if _, err := order(table); err != nil {
		t.Fatal(err)
	}
}

func TestListenSpec(t *testing.T) {
	common, own, err := listenSpec([]string{"127.0.0.1:1", "compute=127.0.0.1:2"}, DefaultListen)
	if err != nil || common != "127.0.0.1:1" || own["compute"] != "127.0.0.1:2" {
		t.Errorf("%q %v %v", common, own, err)
	}
	if common, _, err := listenSpec(nil, DefaultListen); err != nil || common != DefaultListen {
		t.Errorf("default: %q %v", common, err)
	}
	for _, bad := range []string{"5000", "nothing=127.0.0.1:1", "compute="} {
		if _, _, err := listenSpec([]string{bad}, DefaultListen); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestSecretsStayAndAreSecret(t *testing.T) {
	s, err := OpenState(t.TempDir() + "/new")
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Secrets("chosen")
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Secrets("ignored")
	if err != nil {
		t.Fatal(err)
	}
	if a.Admin != "chosen" || b.Admin != "chosen" || a.CloudID != b.CloudID || len(a.Services["nova"]) < 32 {
		t.Errorf("first %+v, then %+v", a, b)
	}
	if err := s.WriteClients("http://127.0.0.1:5000/identity/v3", "chosen"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"secrets.json", "clouds.yaml", "openrc"} {
		i, err := os.Stat(s.Path(f))
		if err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", f, i.Mode(), err)
		}
	}
}

func TestFrontRoutesByPrefix(t *testing.T) {
	f := &front{}
	f.set("identity", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("identity " + r.URL.Path)) }))
	for path, want := range map[string]string{
		"/identity/v3/users": "200 identity /v3/users", "/identity": "200 identity /", "/v3/users": "200 identity /v3/users",
		"/compute/v2.1": "503", "/identityx": "404", "/nothing": "404", "/healthcheck": "200 OK",
	} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		got := http.StatusText(w.Code)
		if w.Code == 200 {
			got = "200 " + strings.TrimSpace(w.Body.String())
		} else {
			got = map[string]string{"Service Unavailable": "503", "Not Found": "404"}[got]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
