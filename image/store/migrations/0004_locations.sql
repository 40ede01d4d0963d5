-- +goose Up
-- Which control node has which data on a disk of its own, where several do.
-- A row is there before the first byte of a copy is written; ready says that
-- the copy is complete.
CREATE TABLE image_locations (
  data_key {{.ID}} NOT NULL,
  node VARCHAR(255) NOT NULL,
  ready {{.Bool}} NOT NULL,
  size_bytes BIGINT NOT NULL,
  hash_value VARCHAR(128) NOT NULL,
  created_at {{.Time}} NOT NULL,
  PRIMARY KEY (data_key, node)
) {{.Options}};
CREATE INDEX image_locations_node ON image_locations (node);

-- The control nodes that serve images.
CREATE TABLE image_nodes (
  name VARCHAR(255) NOT NULL PRIMARY KEY,
  url VARCHAR(255) NOT NULL,
  seen_at {{.Time}} NOT NULL
) {{.Options}};

-- +goose Down
DROP TABLE image_nodes;
DROP TABLE image_locations;
