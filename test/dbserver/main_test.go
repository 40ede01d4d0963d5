package main

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tropocloud/tropo/db"
)

func needServers(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts two database servers")
	}
	for _, p := range [][]string{{"postgresql", "/usr/lib/postgresql/*/bin/initdb"}, {"mariadb-server", "/usr/sbin/mariadbd"}} {
		if _, err := find(p[0], p[1]); err != nil {
			t.Skip(err)
		}
	}
}

func TestRunPassesURLsAndTheExitCode(t *testing.T) {
	needServers(t)
	var out bytes.Buffer
	code, err := run(context.Background(), []string{"sh", "-c", "echo $TROPO_TEST_POSTGRES $TROPO_TEST_MYSQL; exit 7"}, &out, os.Stderr)
	if err != nil || code != 7 {
		t.Fatalf("code %d, %v; want 7", code, err)
	}
	urls := strings.Fields(out.String())
	if len(urls) != 2 {
		t.Fatalf("the command saw %q", out.String())
	}
	for _, u := range urls {
		p, err := url.Parse(u)
		if err != nil || p.Hostname() != "127.0.0.1" {
			t.Errorf("URL %q: %v", u, err)
		}
		if d, err := db.Open(t.Context(), u); err == nil {
			t.Errorf("%s still answers", u)
			_ = d.Close()
		}
	}
}

func TestSignalEndsEverything(t *testing.T) {
	needServers(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	told := make(chan time.Time, 1)
	go func() {
		b := make([]byte, 8)
		_, _ = r.Read(b) // the command runs
		told <- time.Now()
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
	}()
	code, err := run(context.Background(), []string{"sh", "-c", "echo ready; exec tail -f /dev/null"}, w, os.Stderr)
	if err != nil || code != 128+int(syscall.SIGTERM) {
		t.Errorf("code %d, %v; want 143", code, err)
	}
	if d := time.Since(<-told); d > 2*stopTimeout+time.Minute {
		t.Errorf("took %v", d)
	}
}

func TestMissingPackageIsNamed(t *testing.T) {
	if _, err := find("postgresql", "/nowhere/*/initdb"); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("got %v", err)
	}
	if code, err := run(context.Background(), nil, nil, nil); code != 2 || err == nil {
		t.Errorf("no command: %d, %v", code, err)
	}
}
