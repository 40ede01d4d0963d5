-- +goose Up
CREATE TABLE nodes (
  name VARCHAR(100) PRIMARY KEY,
  roles VARCHAR(100) NOT NULL,
  management VARCHAR(45) NOT NULL,
  storage_address VARCHAR(45) NOT NULL,
  service_address VARCHAR(45) NOT NULL,
  version VARCHAR(100) NOT NULL,
  token_id VARCHAR(16) NOT NULL,
  key_digest VARCHAR(64) NOT NULL,
  joined_at {{.Time}} NOT NULL,
  seen_at {{.Time}} NOT NULL,
  revoked {{.Bool}} NOT NULL
) {{.Options}};

CREATE TABLE certificates (
  serial VARCHAR(64) PRIMARY KEY,
  node VARCHAR(100) NOT NULL REFERENCES nodes (name) ON DELETE CASCADE,
  expires_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX certificates_node ON certificates (node);

CREATE TABLE join_tokens (
  id VARCHAR(16) PRIMARY KEY,
  digest VARCHAR(64) NOT NULL,
  roles VARCHAR(100) NOT NULL,
  uses_left INTEGER NOT NULL,
  created_at {{.Time}} NOT NULL,
  expires_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX join_tokens_expires ON join_tokens (expires_at);

-- Facts that all control nodes agree on.
CREATE TABLE facts (
  name VARCHAR(64) PRIMARY KEY,
  fact {{.Text}} NOT NULL
) {{.Options}};

-- +goose Down
DROP TABLE facts;
DROP TABLE join_tokens;
DROP TABLE certificates;
DROP TABLE nodes;
