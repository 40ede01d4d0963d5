// Package dbtest gives tests a database of each engine. SQLite is always
// there; PostgreSQL and MariaDB join where TROPO_TEST_POSTGRES and
// TROPO_TEST_MYSQL hold the URL of a server (test/dbserver starts both from
// Debian's packages and sets them).
package dbtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
)

// Each runs f once per engine, each time with a new, empty database.
func Each(t *testing.T, f func(t *testing.T, d *db.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, file(t)) })
	for env, name := range map[string]string{"TROPO_TEST_POSTGRES": "postgres", "TROPO_TEST_MYSQL": "mysql"} {
		if server := os.Getenv(env); server != "" {
			t.Run(name, func(t *testing.T) { f(t, onServer(t, server)) })
		}
	}
}

// New returns an empty database: SQLite in the test's own folder, or one of the
// engine that TROPO_TEST_ENGINE names (postgres, mysql), so that a test that is
// written for one database runs on each in turn.
func New(t testing.TB) *db.DB {
	t.Helper()
	switch os.Getenv("TROPO_TEST_ENGINE") {
	case "postgres":
		return onServer(t, os.Getenv("TROPO_TEST_POSTGRES"))
	case "mysql":
		return onServer(t, os.Getenv("TROPO_TEST_MYSQL"))
	}
	return file(t)
}

func file(t testing.TB) *db.DB {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
}

func open(t testing.TB, u string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), u)
	if err != nil {
		t.Fatalf("open %s: %v", u, err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return d
}

// onServer creates a database on a server, and drops it after the test.
func onServer(t testing.TB, server string) *db.DB {
	t.Helper()
	ctx := context.Background()
	admin, err := db.Open(ctx, server)
	if err != nil {
		t.Fatalf("reach the test server: %v", err)
	}
	name := "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	if _, err := admin.SQL().ExecContext(ctx, "CREATE DATABASE "+name+charset(admin)); err != nil {
		t.Fatalf("create database: %v", err)
	}
	t.Cleanup(func() {
		if _, err := admin.SQL().ExecContext(ctx, "DROP DATABASE "+name+force(admin)); err != nil {
			t.Errorf("drop database: %v", err)
		}
		_ = admin.Close()
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return open(t, u.String())
}

func charset(d *db.DB) string {
	if d.Dialect() == db.MySQL {
		return " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
	}
	return ""
}

// force lets a database be dropped though a connection whose query was given up
// has not ended yet.
func force(d *db.DB) string {
	if d.Dialect() == db.PostgreSQL {
		return " WITH (FORCE)"
	}
	return ""
}

// URL is a fresh SQLite URL for tests that start a whole service.
func URL(t testing.TB, name string) string {
	t.Helper()
	return fmt.Sprintf("sqlite:%s", filepath.Join(t.TempDir(), name+".db"))
}
