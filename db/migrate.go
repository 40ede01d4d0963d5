package db

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"testing/fstest"
	"text/template"

	"github.com/pressly/goose/v3"
)

// macros are the column types that differ among the engines, for use in
// migrations as {{.Time}} and so on.
var macros = map[Dialect]map[string]string{
	SQLite:     {"ID": "VARCHAR(64)", "Time": "TEXT", "JSON": "TEXT", "Bool": "BOOLEAN", "Text": "TEXT", "Bytes": "BLOB", "Float": "REAL", "Serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "Options": ""},
	PostgreSQL: {"ID": "VARCHAR(64)", "Time": "TIMESTAMPTZ(6)", "JSON": "JSONB", "Bool": "BOOLEAN", "Text": "TEXT", "Bytes": "BYTEA", "Float": "DOUBLE PRECISION", "Serial": "BIGSERIAL PRIMARY KEY", "Options": ""},
	MySQL:      {"ID": "VARCHAR(64)", "Time": "DATETIME(6)", "JSON": "JSON", "Bool": "BOOLEAN", "Text": "LONGTEXT", "Bytes": "LONGBLOB", "Float": "DOUBLE", "Serial": "BIGINT AUTO_INCREMENT PRIMARY KEY", "Options": "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"},
}

// Migrate brings the database to the newest of the migrations in fsys, which
// holds files like 0001_initial.sql in goose's format (-- +goose Up). Type
// macros: {{.ID}} {{.Time}} {{.JSON}} {{.Bool}} {{.Text}} {{.Bytes}}
// {{.Float}} {{.Serial}}; {{.Options}} ends each CREATE TABLE. name separates
// several sets in one database (a service's own, the saga tables).
func (d *DB) Migrate(ctx context.Context, name string, fsys fs.FS) error {
	rendered := fstest.MapFS{}
	files, err := fs.Glob(fsys, "*.sql")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := fs.ReadFile(fsys, f)
		if err != nil {
			return err
		}
		t, err := template.New(f).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return fmt.Errorf("migration %s: %w", f, err)
		}
		var b bytes.Buffer
		if err := t.Execute(&b, macros[d.dialect]); err != nil {
			return fmt.Errorf("migration %s: %w", f, err)
		}
		rendered[f] = &fstest.MapFile{Data: b.Bytes()}
	}
	dialect := map[Dialect]goose.Dialect{SQLite: goose.DialectSQLite3, PostgreSQL: goose.DialectPostgres, MySQL: goose.DialectMySQL}[d.dialect]
	p, err := goose.NewProvider(dialect, d.write, rendered, goose.WithTableName("migrations_"+name), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", name, err)
	}
	if d.server != nil {
		d.server.slow.Add(1)
		defer d.server.slow.Add(-1)
	}
	// One process at a time, of all that start with the same database.
	return d.Alone(ctx, "migrate "+name, func(ctx context.Context) error {
		if _, err := p.Up(ctx); err != nil {
			return fmt.Errorf("migrate %s: %w", name, err)
		}
		return nil
	})
}

// SQL gives the pool for what this package does not cover (health checks of
// tests, server settings). Services do not need it.
func (d *DB) SQL() *sql.DB { return d.write }
