package daemons

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"
)

// prepare makes daemons with their folders, and a context that is long enough.
// The test is skipped where the program that it starts is not installed.
func prepare(t *testing.T, program string, c Config) (*Daemons, context.Context) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (deploy/packages.sh run does that): %v", program, err)
	}
	// Not t.TempDir: its path is too long for unix sockets.
	dir, err := os.MkdirTemp("", "ovn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.ID, c.Dir, c.Log = dir, dir, slog.New(slog.DiscardHandler)
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{d.run(""), d.log(""), d.db("")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return d, ctx
}

func TestLogsAreBounded(t *testing.T) {
	d, ctx := prepare(t, "ovsdb-server", Config{Central: true})
	started, err := d.ensureProcess(ctx, d.switchDB())
	if err != nil || !started {
		t.Fatalf("start: %v %v", started, err)
	}
	defer func() {
		if err := d.stopProcess(context.Background(), d.switchDB()); err != nil {
			t.Error(err)
		}
	}()
	path := d.log("ovsdb.log")
	if err := os.Truncate(path, maxLog+1); err != nil {
		t.Fatal(err)
	}
	d.rotateLogs(ctx)
	old, err := os.Stat(path + ".old")
	if err != nil || old.Size() <= maxLog {
		t.Errorf("old log: %v %v", old, err)
	}
	if now, err := os.Stat(path); err != nil || now.Size() >= maxLog {
		t.Errorf("new log: %v %v", now, err)
	}
	// A process of the same number that is not ours is not taken for it.
	if err := os.WriteFile(d.pidfile(d.vswitchd()), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := d.find(d.vswitchd()); ok {
		t.Error("process 1 is taken for ovs-vswitchd")
	}
}
