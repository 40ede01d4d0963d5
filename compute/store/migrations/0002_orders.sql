-- +goose Up
-- The host that was last told to make a server's guest, and whether it has
-- begun (taken): no other host is told before the first one surely has none.
CREATE TABLE spawn_orders (
  server_id {{.ID}} NOT NULL PRIMARY KEY,
  host VARCHAR(255) NOT NULL,
  order_id {{.ID}} NOT NULL,
  taken {{.Bool}} NOT NULL
) {{.Options}};
CREATE INDEX migrations_of_servers_source ON migrations_of_servers (source_host, status);

-- +goose Down
DROP TABLE spawn_orders;
