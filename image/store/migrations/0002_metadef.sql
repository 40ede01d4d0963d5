-- +goose Up
CREATE TABLE metadef_namespaces (
  id {{.ID}} NOT NULL PRIMARY KEY,
  namespace VARCHAR(80) NOT NULL UNIQUE,
  display_name VARCHAR(80),
  description {{.Text}},
  visibility VARCHAR(16) NOT NULL,
  protected {{.Bool}} NOT NULL,
  owner_id VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL
) {{.Options}};

CREATE TABLE metadef_definitions (
  namespace_id {{.ID}} NOT NULL,
  kind VARCHAR(16) NOT NULL,
  name VARCHAR(80) NOT NULL,
  document {{.Text}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  PRIMARY KEY (namespace_id, kind, name),
  FOREIGN KEY (namespace_id) REFERENCES metadef_namespaces (id) ON DELETE CASCADE
) {{.Options}};

CREATE TABLE metadef_resource_types (
  name VARCHAR(80) NOT NULL PRIMARY KEY,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL
) {{.Options}};

CREATE TABLE metadef_associations (
  namespace_id {{.ID}} NOT NULL,
  resource_type VARCHAR(80) NOT NULL,
  prefix VARCHAR(80),
  properties_target VARCHAR(80),
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  PRIMARY KEY (namespace_id, resource_type),
  FOREIGN KEY (namespace_id) REFERENCES metadef_namespaces (id) ON DELETE CASCADE
) {{.Options}};

-- +goose Down
DROP TABLE metadef_associations;
DROP TABLE metadef_resource_types;
DROP TABLE metadef_definitions;
DROP TABLE metadef_namespaces;
