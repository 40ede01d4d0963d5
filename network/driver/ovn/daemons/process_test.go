package daemons

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestLogsAreBounded(t *testing.T) {
	if _, err := exec.LookPath("ovsdb-server"); err != nil {
		t.Skip("ovsdb-server is not installed")
	}
	dir, err := os.MkdirTemp("", "ovn")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, err := New(Config{ID: dir, Dir: dir, Central: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, sub := range []string{d.run(""), d.log(""), d.db("")} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
	}
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
