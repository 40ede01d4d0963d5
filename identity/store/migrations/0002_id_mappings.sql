-- +goose Up
-- Which entry of a domain's directory a public id stands for.
CREATE TABLE id_mappings (
  public_id {{.ID}} NOT NULL PRIMARY KEY,
  domain_id {{.ID}} NOT NULL,
  entity_type VARCHAR(8) NOT NULL,
  local_id VARCHAR(255) NOT NULL,
  CONSTRAINT id_mappings_domain FOREIGN KEY (domain_id) REFERENCES projects (id) ON DELETE CASCADE
) {{.Options}};
CREATE INDEX id_mappings_by_domain ON id_mappings (domain_id);
