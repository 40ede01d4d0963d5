package qmp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tropocloud/tropo/lib/qmp"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`

// request is a command as the server sees it.
type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        string          `json:"id"`
}

// server plays QEMU's part: it greets, then answers each command by the
// handler's text, in which %ID% stands for the command's id.
func server(t *testing.T, handle func(request) string) *qmp.Client {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		io.WriteString(theirs, greeting+"\r\n")
		lines := bufio.NewScanner(theirs)
		for lines.Scan() {
			var r request
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Errorf("%s: %v", lines.Text(), err)
				return
			}
			answer := `{"return": {}, "id": "%ID%"}`
			if r.Execute != "qmp_capabilities" {
				answer = handle(r)
			}
			if answer == "hang up" {
				return
			}
			if answer != "" {
				io.WriteString(theirs, strings.ReplaceAll(answer, "%ID%", r.ID)+"\r\n")
			}
		}
	}()
	c, err := qmp.New(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		<-done
	})
	return c
}

func TestExecute(t *testing.T) {
	c := server(t, func(r request) string {
		switch r.Execute {
		case "echo":
			return `{"return": ` + string(r.Arguments) + `, "id": "%ID%"}`
		case "bad":
			return `{"error": {"class": "DeviceNotFound", "desc": "Device 'x' not found"}, "id": "%ID%"}`
		}
		return `{"return": {}, "id": "%ID%"}`
	})
	if v := c.Version(); v != (qmp.Version{Major: 7, Minor: 2, Micro: 22}) {
		t.Errorf("version %+v", v)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			var got struct{ N int }
			err := c.Execute(t.Context(), "echo", map[string]int{"N": i}, &got)
			if err != nil || got.N != i {
				t.Errorf("got %d, %v; want %d", got.N, err, i)
			}
		})
	}
	wg.Wait()
	err := c.Execute(t.Context(), "bad", nil, nil)
	if !qmp.IsClass(err, "DeviceNotFound") || qmp.IsClass(err, "GenericError") {
		t.Errorf("got %v", err)
	}
}

// A reply that comes after its caller gave up disturbs nobody.
func TestLateReply(t *testing.T) {
	held := make(chan string, 1)
	c := server(t, func(r request) string {
		if r.Execute == "slow" {
			held <- r.ID
			return ""
		}
		return fmt.Sprintf("{\"return\": {\"late\": true}, \"id\": %q}\r\n{\"return\": {\"late\": false}, \"id\": \"%%ID%%\"}", <-held)
	})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- c.Execute(ctx, "slow", nil, nil) }()
	id := <-held
	cancel()
	if err := <-stopped; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	held <- id
	var got struct{ Late bool }
	if err := c.Execute(t.Context(), "next", nil, &got); err != nil || got.Late {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestEvents(t *testing.T) {
	c := server(t, func(r request) string {
		if r.Execute == "bye" {
			return "hang up"
		}
		return `{"event": "STOP", "timestamp": {"seconds": 10, "microseconds": 7}}
{"event": "DEVICE_DELETED", "data": {"device": "nic0"}, "timestamp": {"seconds": 11, "microseconds": 0}}
{"return": {}, "id": "%ID%"}`
	})
	all, some, closed := c.Subscribe(), c.Subscribe("DEVICE_DELETED"), c.Subscribe()
	closed.Close()
	closed.Close()
	if err := c.Execute(t.Context(), "go", nil, nil); err != nil {
		t.Fatal(err)
	}
	e, err := all.Next(t.Context(), nil)
	if err != nil || e.Name != "STOP" || !e.Time.Equal(time.Unix(10, 7000)) {
		t.Errorf("got %+v, %v", e, err)
	}
	var data struct{ Device string }
	e, err = some.Next(t.Context(), nil)
	if err != nil || e.Decode(&data) != nil || data.Device != "nic0" {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := c.Execute(t.Context(), "bye", nil, nil); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("got %v", err)
	}
	<-c.Done()
	if _, err := some.Next(t.Context(), nil); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := c.Execute(t.Context(), "more", nil, nil); !errors.Is(err, qmp.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, ok := <-c.Subscribe().C(); ok {
		t.Error("a subscription after the end delivers")
	}
}

// A subscriber that does not read holds up nobody.
func TestSlowSubscriber(t *testing.T) {
	c := server(t, func(request) string {
		return strings.Repeat(`{"event": "RTC_CHANGE"}`+"\n", 1000) + `{"return": {}, "id": "%ID%"}`
	})
	c.Subscribe()
	for range 3 {
		if err := c.Execute(t.Context(), "go", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, first := range map[string]string{
		"no JSON": "SSH-2.0\n", "no QMP": "{}\n", "nothing": "",
		"endless": string(bytes.Repeat([]byte("x"), qmp.MaxLine+1)),
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				io.WriteString(theirs, first)
				theirs.Close()
			}()
			if _, err := qmp.New(t.Context(), ours); err == nil {
				t.Error("negotiated")
			}
		})
	}
	// A monitor that another client holds does not greet.
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := qmp.New(ctx, ours); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestQEMU(t *testing.T) {
	const program = "qemu-system-x86_64"
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s", program)
	}
	dir, err := os.MkdirTemp("", "qmp")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-machine", "q35", "-accel", "tcg", "-nodefaults", "-no-user-config",
		"-display", "none", "-S", "-m", "16", "-chardev", "socket,id=qmp,fd=3,server=on,wait=off", "-mon", "chardev=qmp,mode=control")
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := qmp.Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Version().Major < 4 {
		t.Errorf("version %+v", c.Version())
	}
	sub := c.Subscribe("RESUME", "SHUTDOWN")
	var status struct{ Status string }
	if err := c.Execute(ctx, "query-status", nil, &status); err != nil || status.Status != "prelaunch" {
		t.Errorf("status %+v, %v", status, err)
	}
	if err := c.Execute(ctx, "no-such-command", nil, nil); !qmp.IsClass(err, "CommandNotFound") {
		t.Errorf("got %v", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := c.ExecuteWithFile(ctx, null, "getfd", map[string]string{"fdname": "x"}, nil); err != nil {
		t.Error(err)
	}
	if err := c.Execute(ctx, "closefd", map[string]string{"fdname": "x"}, nil); err != nil {
		t.Error(err)
	}
	if err := c.Execute(ctx, "cont", nil, nil); err != nil {
		t.Error(err)
	}
	if _, err := sub.Next(ctx, func(e qmp.Event) bool { return e.Name == "RESUME" }); err != nil {
		t.Error(err)
	}
	if err := c.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	<-c.Done()
}
