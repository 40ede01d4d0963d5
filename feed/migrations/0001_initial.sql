-- +goose Up
CREATE TABLE feed (
  seq {{.Serial}},
  happened_at {{.Time}} NOT NULL,
  project_id {{.ID}} NOT NULL,
  kind VARCHAR(64) NOT NULL,
  object_id {{.ID}} NOT NULL,
  action VARCHAR(16) NOT NULL,
  status VARCHAR(64) NOT NULL,
  request_id {{.ID}} NOT NULL
) {{.Options}};
CREATE INDEX feed_by_time ON feed (happened_at);
