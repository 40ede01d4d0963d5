-- +goose Up
-- What one node of the cloud has and no other may: its addresses, and its name
-- whatever the case of its letters.
CREATE TABLE taken (
  kind VARCHAR(8) NOT NULL,
  what VARCHAR(100) NOT NULL,
  node VARCHAR(100) NOT NULL REFERENCES nodes (name) ON DELETE CASCADE,
  PRIMARY KEY (kind, what)
) {{.Options}};
CREATE INDEX taken_node ON taken (node);

INSERT INTO taken (kind, what, node)
SELECT 'name', LOWER(name), MIN(name) FROM nodes WHERE revoked = FALSE GROUP BY LOWER(name);

-- A node without an address of a kind has '' there.
INSERT INTO taken (kind, what, node)
SELECT 'address', a.address, MIN(a.name) FROM (
  SELECT management AS address, name FROM nodes WHERE revoked = FALSE
  UNION ALL
  SELECT storage_address AS address, name FROM nodes WHERE revoked = FALSE
  UNION ALL
  SELECT service_address AS address, name FROM nodes WHERE revoked = FALSE
) a WHERE a.address <> '' GROUP BY a.address;

-- +goose Down
DROP TABLE taken;
