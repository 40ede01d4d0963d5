-- +goose Up
CREATE TABLE resource_classes (
  name VARCHAR(255) NOT NULL PRIMARY KEY,
  position BIGINT NOT NULL,
  updated_at {{.Time}} NOT NULL
) {{.Options}};

CREATE TABLE traits (
  name VARCHAR(255) NOT NULL PRIMARY KEY,
  updated_at {{.Time}} NOT NULL
) {{.Options}};

CREATE TABLE providers (
  uuid {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(200) NOT NULL,
  generation BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  parent_uuid {{.ID}},
  root_uuid {{.ID}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  UNIQUE (name),
  FOREIGN KEY (parent_uuid) REFERENCES providers (uuid)
) {{.Options}};
CREATE INDEX providers_parent ON providers (parent_uuid);
CREATE INDEX providers_root ON providers (root_uuid);
CREATE INDEX providers_revision ON providers (uuid, revision);

CREATE TABLE provider_traits (
  provider_uuid {{.ID}} NOT NULL,
  trait VARCHAR(255) NOT NULL,
  PRIMARY KEY (provider_uuid, trait),
  FOREIGN KEY (provider_uuid) REFERENCES providers (uuid),
  FOREIGN KEY (trait) REFERENCES traits (name)
) {{.Options}};
CREATE INDEX provider_traits_trait ON provider_traits (trait);

CREATE TABLE provider_aggregates (
  provider_uuid {{.ID}} NOT NULL,
  aggregate_uuid {{.ID}} NOT NULL,
  PRIMARY KEY (provider_uuid, aggregate_uuid),
  FOREIGN KEY (provider_uuid) REFERENCES providers (uuid)
) {{.Options}};

CREATE TABLE inventories (
  provider_uuid {{.ID}} NOT NULL,
  resource_class VARCHAR(255) NOT NULL,
  total BIGINT NOT NULL,
  reserved BIGINT NOT NULL,
  min_unit BIGINT NOT NULL,
  max_unit BIGINT NOT NULL,
  step_size BIGINT NOT NULL,
  allocation_ratio {{.Float}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  PRIMARY KEY (provider_uuid, resource_class),
  FOREIGN KEY (provider_uuid) REFERENCES providers (uuid),
  FOREIGN KEY (resource_class) REFERENCES resource_classes (name) ON UPDATE CASCADE
) {{.Options}};
CREATE INDEX inventories_class ON inventories (resource_class);

CREATE TABLE consumers (
  uuid {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  consumer_type VARCHAR(255),
  generation BIGINT NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX consumers_project ON consumers (project_id, user_id);

-- The keys say it: nothing is allocated of what is not in the inventory, and
-- inventory does not go away under an allocation.
CREATE TABLE allocations (
  consumer_uuid {{.ID}} NOT NULL,
  provider_uuid {{.ID}} NOT NULL,
  resource_class VARCHAR(255) NOT NULL,
  used BIGINT NOT NULL,
  created_at {{.Time}} NOT NULL,
  PRIMARY KEY (consumer_uuid, provider_uuid, resource_class),
  FOREIGN KEY (consumer_uuid) REFERENCES consumers (uuid),
  FOREIGN KEY (provider_uuid, resource_class) REFERENCES inventories (provider_uuid, resource_class) ON UPDATE CASCADE
) {{.Options}};
CREATE INDEX allocations_provider ON allocations (provider_uuid, resource_class);
