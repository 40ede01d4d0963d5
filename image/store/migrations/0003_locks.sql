-- +goose Up
CREATE TABLE locks (
  name VARCHAR(320) NOT NULL PRIMARY KEY,
  taken_at {{.Time}} NOT NULL
) {{.Options}};
