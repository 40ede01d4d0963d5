package db

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tropocloud/tropo/fault"
)

func openTest(t *testing.T, name string) *DB {
	t.Helper()
	d, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if _, err := Exec(t.Context(), d, "CREATE TABLE t (id VARCHAR(64) PRIMARY KEY, a BIGINT)"); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestOuterContextInsideTx: a writer that waits for itself gets an error that
// says so, and the database goes on.
func TestOuterContextInsideTx(t *testing.T) {
	d := openTest(t, "odd ?#%41 name.db")
	d.gateWait = 20 * time.Millisecond
	outer := t.Context()
	err := d.Tx(outer, func(context.Context) error {
		_, err := Exec(outer, d, "INSERT INTO t (id) VALUES ('a')")
		return err
	})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "context other than its own") {
		t.Errorf("got %v", err)
	}
	if err := d.Tx(outer, func(ctx context.Context) error {
		_, err := Exec(ctx, d, "INSERT INTO t (id) VALUES ('a')")
		return err
	}); err != nil {
		t.Error(err)
	}
}

// TestCancelInsideTx: the transaction is rolled back and the writer is free
// again, also after a panic.
func TestCancelInsideTx(t *testing.T) {
	d := openTest(t, "t.db")
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Tx(ctx, func(ctx context.Context) error {
		if _, err := Exec(ctx, d, "INSERT INTO t (id) VALUES ('a')"); err != nil {
			return err
		}
		cancel()
		_, err := Exec(ctx, d, "INSERT INTO t (id) VALUES ('b')")
		if err == nil {
			t.Error("written after the end")
		}
		return nil // a careless caller: the commit must fail
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = d.Tx(t.Context(), func(ctx context.Context) error {
			_, _ = Exec(ctx, d, "INSERT INTO t (id) VALUES ('c')")
			panic("boom")
		})
	}()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := Exec(t.Context(), d, "INSERT INTO t (id, a) VALUES ('d', 1) ON CONFLICT (id) DO UPDATE SET a = a + 1"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ids, err := Select[string](t.Context(), d, "SELECT id FROM t")
	if err != nil || len(ids) != 1 || ids[0] != "d" {
		t.Errorf("%v %v", ids, err)
	}
}

func TestConditionsOnNil(t *testing.T) {
	var none *string
	for want, c := range map[string]*Cond{
		` WHERE ("a" IS NULL)`:     Where().Eq("a", none),
		` WHERE ("a" IS NOT NULL)`: Where().Ne("a", none),
		` WHERE ("a" = ?)`:         Where().Eq("a", ""),
		` WHERE (1 = 0)`:           Where().In("a", []string{}),
		` WHERE (x."a" <> ?)`:      Where().Ne("x.a", 1),
		``:                         nil,
	} {
		if got, _ := c.SQL(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOpenKeepsSecrets(t *testing.T) {
	for _, u := range []string{"mysql://root:secret%zz@h/x", "mysql-secret", "postgres://u:secret%zz@h/x"} {
		if _, err := Open(t.Context(), u); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	}
}

// TestAwayIsUnavailable: a database that is out of reach is not the fault of
// the request.
func TestAwayIsUnavailable(t *testing.T) {
	_, err := Open(t.Context(), "postgres://u:p@127.0.0.1:1/x")
	if !fault.Is(mapError(err), fault.Unavailable) {
		t.Errorf("postgres: %v", err)
	}
	_, err = Open(t.Context(), "mysql://u:p@127.0.0.1:1/x")
	if !fault.Is(mapError(err), fault.Unavailable) {
		t.Errorf("mysql: %v", err)
	}
}
