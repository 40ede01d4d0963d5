-- +goose Up
CREATE TABLE sagas (
  id {{.ID}} NOT NULL PRIMARY KEY,
  seq_at {{.Time}} NOT NULL,
  name VARCHAR(64) NOT NULL,
  object_id VARCHAR(255) NOT NULL,
  state {{.JSON}} NOT NULL,
  step BIGINT NOT NULL,
  undoing {{.Bool}} NOT NULL,
  cancelled {{.Bool}} NOT NULL,
  cause_kind VARCHAR(32) NOT NULL,
  cause {{.Text}} NOT NULL,
  tries BIGINT NOT NULL,
  first_try_at {{.Time}},
  run_at {{.Time}} NOT NULL,
  owner VARCHAR(255) NOT NULL,
  lease_until {{.Time}},
  trace {{.JSON}} NOT NULL
) {{.Options}};
CREATE INDEX sagas_run ON sagas (run_at);
CREATE INDEX sagas_object ON sagas (object_id, seq_at);
CREATE TABLE leases (
  name VARCHAR(255) NOT NULL PRIMARY KEY,
  owner VARCHAR(255) NOT NULL,
  lease_until {{.Time}} NOT NULL,
  last_run {{.Time}}
) {{.Options}};
