package ovsdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server is a real ovsdb-server on a database of testdata/zoo.ovsschema.
type server struct {
	t    *testing.T
	dir  string
	proc *exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	for _, tool := range []string{"ovsdb-server", "ovsdb-tool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir, err := os.MkdirTemp("", "ovsdb")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, dir: dir}
	if out, err := exec.Command("ovsdb-tool", "create", filepath.Join(dir, "zoo.db"), "testdata/zoo.ovsschema").CombinedOutput(); err != nil {
		t.Fatalf("ovsdb-tool: %v: %s", err, out)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) remote() string { return "unix:" + filepath.Join(s.dir, "sock") }

func (s *server) start() {
	s.proc = exec.Command("ovsdb-server", filepath.Join(s.dir, "zoo.db"), "--remote=p"+s.remote(),
		"--unixctl="+filepath.Join(s.dir, "ctl"), "--no-chdir", "-vconsole:off")
	s.proc.Env = append(os.Environ(), "OVS_RUNDIR="+s.dir, "OVS_LOGDIR="+s.dir)
	if err := s.proc.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) kill() {
	if s.proc == nil {
		return
	}
	s.proc.Process.Kill()
	s.proc.Wait()
	s.proc = nil
}

func (s *server) open(opts Options) *Client {
	opts.Remotes, opts.Database = []string{s.remote()}, "Zoo"
	if opts.Tables == nil {
		opts.Tables = map[string][]string{"Cage": nil, "Animal": nil}
	}
	opts.MaxBackoff = 200 * time.Millisecond
	c, err := Open(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func withDeadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestTransactionsReachTheCache(t *testing.T) {
	s := newServer(t)
	ctx := withDeadline(t)
	c := s.open(Options{Indexes: map[string]map[string]IndexFunc{"Cage": {"owner": func(r Row) []string {
		if o := r.Get("labels", "owner"); o != "" {
			return []string{o}
		}
		return nil
	}}}})
	res, err := c.Transact(ctx,
		Insert("Animal", Row{"name": "leo"}, "lion"),
		Insert("Cage", Row{
			"name": "north", "animals": Set{Named("lion")}, "labels": map[string]string{"owner": "anna", "k": "v"},
			"size": 4, "weight": 1.5, "open": true, "tags": []string{"b", "a"},
		}, ""))
	if err != nil {
		t.Fatal(err)
	}
	cage, lion := res[1].UUID, res[0].UUID
	want := Row{
		"_uuid": cage, "name": "north", "animals": Set{lion}, "labels": Map{"owner": "anna", "k": "v"},
		"size": int64(4), "weight": 1.5, "open": Set{true}, "tags": Set{"a", "b"},
	}
	view(t, c, func(v View) {
		if d := cmp.Diff(want, v.Row("Cage", cage)); d != "" {
			t.Errorf("cache differs: %s", d)
		}
		if found := v.Find("Cage", "owner", "anna"); len(found) != 1 || found[0].UUID() != cage {
			t.Errorf("index found %v", found)
		}
	})

	// Each kind of change arrives as a difference.
	if _, err := c.Transact(ctx,
		Mutate("Cage", ByUUID(cage), Mutation{"tags", "insert", Strings("c")}, Mutation{"tags", "delete", Strings("a")},
			Mutation{"labels", "delete", Strings("k")}, Mutation{"size", "+=", 1}),
		Update("Cage", ByUUID(cage), Row{"open": Set{}, "labels": map[string]string{"owner": "ben", "x": "y"}}),
	); err != nil {
		t.Fatal(err)
	}
	want["tags"], want["open"], want["size"] = Set{"b", "c"}, Set{}, int64(5)
	want["labels"] = Map{"owner": "ben", "x": "y"}
	view(t, c, func(v View) {
		if d := cmp.Diff(want, v.Row("Cage", cage)); d != "" {
			t.Errorf("after the change: %s", d)
		}
		if keys := v.Keys("Cage", "owner"); !slices.Equal(keys, []string{"ben"}) {
			t.Errorf("index keys %v", keys)
		}
	})

	res, err = c.Transact(ctx, Select("Cage", []Condition{{"name", "==", "north"}}, "size", "animals"))
	if err != nil || len(res[0].Rows) != 1 || res[0].Rows[0].Int("size") != 5 || !res[0].Rows[0].Has("animals", lion) {
		t.Errorf("select: %v %v", res, err)
	}
	res, err = c.Transact(ctx, Delete("Cage", ByUUID(cage)))
	if err != nil || res[0].Count != 1 {
		t.Fatalf("delete: %v %v", res, err)
	}
	view(t, c, func(v View) {
		if n := len(v.Rows("Cage")) + len(v.Rows("Animal")); n != 0 {
			t.Errorf("%d rows left in the cache", n)
		}
	})
}

func TestRefusedTransactionChangesNothing(t *testing.T) {
	s := newServer(t)
	ctx := withDeadline(t)
	c := s.open(Options{})
	_, err := c.Transact(ctx, Insert("Cage", Row{"name": "a"}, ""), Insert("Cage", Row{"name": "b", "size": -1}, ""))
	var e *Error
	if !errors.As(err, &e) || e.Name != "constraint violation" || e.Op != 1 {
		t.Errorf("negative size: %v", err)
	}
	// An index is checked at commit: reported after the last operation.
	_, err = c.Transact(ctx, Insert("Cage", Row{"name": "a"}, ""), Insert("Cage", Row{"name": "a"}, ""))
	if !errors.As(err, &e) || e.Op != 2 {
		t.Errorf("double name: %v", err)
	}
	_, err = c.Transact(ctx, Wait("Cage", []Condition{{"name", "==", "a"}}, []string{"name"}, true, []Row{{"name": "a"}}, 0), Insert("Cage", Row{"name": "c"}, ""))
	if !errors.As(err, &e) || e.Name != "timed out" {
		t.Errorf("wait: %v", err)
	}
	view(t, c, func(v View) {
		if rows := v.Rows("Cage"); len(rows) != 0 {
			t.Errorf("rows %v", rows)
		}
	})
}

func TestBarrierBringsOthersChanges(t *testing.T) {
	s := newServer(t)
	ctx := withDeadline(t)
	c, other := s.open(Options{}), s.open(Options{})
	if err := c.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := other.Transact(ctx, Insert("Cage", Row{"name": fmt.Sprint(i)}, "")); err != nil {
			t.Fatal(err)
		}
		if err := c.Barrier(ctx); err != nil {
			t.Fatal(err)
		}
		view(t, c, func(v View) {
			if n := len(v.Rows("Cage")); n != i+1 {
				t.Fatalf("%d rows after %d inserts", n, i+1)
			}
		})
	}
}

func TestReconnectReportsWhatDiffers(t *testing.T) {
	s := newServer(t)
	ctx := withDeadline(t)
	changes := make(chan Change, 100)
	lost, had := make(chan struct{}, 100), false
	c := s.open(Options{
		OnChange: func(cs []Change) {
			for _, ch := range cs {
				changes <- ch
			}
		},
		OnState: func(err error) {
			if had && err != nil { // not what failed before the server listened
				lost <- struct{}{}
			}
			had = err == nil
		},
	})
	if _, err := c.Transact(ctx, Insert("Cage", Row{"name": "kept"}, ""), Insert("Cage", Row{"name": "dropped"}, "")); err != nil {
		t.Fatal(err)
	}
	<-changes
	<-changes
	s.kill()
	<-lost
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := c.View(short, func(View) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a lost client showed its cache: %v", err)
	}
	s.start()
	other := s.open(Options{Tables: map[string][]string{}})
	if _, err := other.Transact(ctx, Delete("Cage", []Condition{{"name", "==", "dropped"}})); err != nil {
		t.Fatal(err)
	}
	select {
	case ch := <-changes:
		if ch.New != nil || ch.Old.String("name") != "dropped" {
			t.Errorf("change %+v", ch)
		}
	case <-ctx.Done():
		t.Fatal("no change after reconnecting")
	}
	view(t, c, func(v View) {
		if rows := v.Rows("Cage"); len(rows) != 1 || rows[0].String("name") != "kept" {
			t.Errorf("rows %v", rows)
		}
	})
}

// TestDeadRemoteIsPassedOver: of two places one does not answer, either to
// connecting or to the first request.
func TestDeadRemoteIsPassedOver(t *testing.T) {
	s := newServer(t)
	mute, err := net.Listen("unix", filepath.Join(s.dir, "mute"))
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ways := map[string]DialFunc{
		"no connection": func(ctx context.Context, network, address string) (net.Conn, error) {
			if filepath.Base(address) == "mute" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		"no answer": nil,
	}
	for name, dial := range ways {
		t.Run(name, func(t *testing.T) {
			c, err := Open(Options{
				Remotes: []string{"unix:" + mute.Addr().String(), s.remote()}, Database: "Zoo", Dial: dial,
				Tables: map[string][]string{"Cage": nil}, Probe: 200 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.Wait(withDeadline(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCloseEndsWaiters(t *testing.T) {
	c, err := Open(Options{Remotes: []string{"unix:/nonexistent/sock"}, Database: "Zoo"})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { got <- c.Wait(context.Background()) }()
	c.Close()
	if err := <-got; !errors.Is(err, ErrDisconnected) {
		t.Errorf("got %v", err)
	}
}

func TestCanonical(t *testing.T) {
	raw, err := os.ReadFile("testdata/zoo.ovsschema")
	if err != nil {
		t.Fatal(err)
	}
	var s Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		column string
		in     any
		want   any
	}{
		{"tags", []string{"b", "a", "b"}, Set{"a", "b"}},
		{"tags", nil, Set{}},
		{"open", true, Set{true}},
		{"open", nil, Set{}},
		{"size", 3, int64(3)},
		{"labels", map[string]string{"a": "b"}, Map{"a": "b"}},
		{"animals", []UUID{"2", "1"}, Set{UUID("1"), UUID("2")}},
	} {
		got, err := s.Canonical("Cage", c.column, c.in)
		if err != nil || !Equal(got, c.want) {
			t.Errorf("%s %v: got %v, %v", c.column, c.in, got, err)
		}
	}
	for column, v := range map[string]any{"size": Set{1}, "labels": "x", "nope": 1} {
		if _, err := s.Canonical("Cage", column, v); err == nil {
			t.Errorf("%s accepted %v", column, v)
		}
	}
}

func view(t *testing.T, c *Client, f func(View)) {
	t.Helper()
	if err := c.View(withDeadline(t), func(v View) error { f(v); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestControl(t *testing.T) {
	s := newServer(t)
	ctx := withDeadline(t)
	if err := s.open(Options{}).Wait(ctx); err != nil { // until the daemon serves
		t.Fatal(err)
	}
	socket := filepath.Join(s.dir, "ctl")
	if out, err := Control(ctx, socket, "ovsdb-server/list-dbs"); err != nil || !strings.Contains(out, "Zoo\n") {
		t.Errorf("said %q, %v", out, err)
	}
	if out, err := Control(ctx, socket, "vlog/set", "any:file:off"); err != nil || out != "" {
		t.Errorf("with an argument: %q, %v", out, err)
	}
	var refused *Error
	if _, err := Control(ctx, socket, "no-such-command"); !errors.As(err, &refused) {
		t.Errorf("an unknown command: %v", err)
	}
	if _, err := Control(ctx, socket+"x", "version"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no daemon: %v", err)
	}
}

// TestReplyBeforeTheEnd: an answer counts however soon the connection ends.
func TestReplyBeforeTheEnd(t *testing.T) {
	ctx := withDeadline(t)
	for range 100 { // the reader and the caller race
		server, client := net.Pipe()
		k := newConn(client, nil)
		served := make(chan error, 1)
		go func() {
			defer server.Close()
			var request message
			if err := json.NewDecoder(server).Decode(&request); err != nil {
				served <- err
				return
			}
			served <- json.NewEncoder(server).Encode(message{ID: request.ID, Result: json.RawMessage(`"done"`)})
		}()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			k.read()
		}()
		got, err := k.call(ctx, "exit", []string{}, nil)
		<-ended
		if failed := <-served; failed != nil {
			t.Fatal(failed)
		}
		if err != nil || string(got) != `"done"` {
			t.Fatalf("got %s, %v", got, err)
		}
	}
}
