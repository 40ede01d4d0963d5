-- +goose Up
CREATE TABLE idempotency (
  id {{.ID}} NOT NULL PRIMARY KEY,
  fingerprint {{.ID}} NOT NULL,
  seed {{.ID}} NOT NULL,
  holder {{.ID}} NOT NULL,
  held_until {{.Time}} NOT NULL,
  status BIGINT NOT NULL,
  answer {{.Bytes}} NOT NULL,
  created_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX idempotency_by_age ON idempotency (created_at);
