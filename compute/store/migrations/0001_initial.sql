-- +goose Up
CREATE TABLE flavors (
  id VARCHAR(255) NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL UNIQUE,
  description {{.Text}},
  vcpus BIGINT NOT NULL,
  memory_mb BIGINT NOT NULL,
  root_gb BIGINT NOT NULL,
  ephemeral_gb BIGINT NOT NULL,
  swap_mb BIGINT NOT NULL,
  rxtx_factor {{.Float}} NOT NULL,
  is_public {{.Bool}} NOT NULL,
  disabled {{.Bool}} NOT NULL,
  created_at {{.Time}} NOT NULL
) {{.Options}};
CREATE TABLE flavor_extra_specs (
  flavor_id VARCHAR(255) NOT NULL REFERENCES flavors (id) ON DELETE CASCADE,
  name VARCHAR(255) NOT NULL,
  text_value VARCHAR(255) NOT NULL,
  PRIMARY KEY (flavor_id, name)
) {{.Options}};
CREATE TABLE flavor_access (
  flavor_id VARCHAR(255) NOT NULL REFERENCES flavors (id) ON DELETE CASCADE,
  project_id {{.ID}} NOT NULL,
  PRIMARY KEY (flavor_id, project_id)
) {{.Options}};

CREATE TABLE keypairs (
  id {{.Serial}},
  user_id {{.ID}} NOT NULL,
  name VARCHAR(255) NOT NULL,
  type VARCHAR(16) NOT NULL,
  public_key {{.Text}} NOT NULL,
  fingerprint VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  UNIQUE (user_id, name)
) {{.Options}};

CREATE TABLE servers (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id {{.ID}} NOT NULL,
  user_id {{.ID}} NOT NULL,
  name VARCHAR(255) NOT NULL,
  description {{.Text}},
  hostname VARCHAR(255) NOT NULL,
  reservation_id VARCHAR(64) NOT NULL,
  launch_index BIGINT NOT NULL,
  vm_state VARCHAR(32) NOT NULL,
  task_state VARCHAR(32) NOT NULL,
  power_state BIGINT NOT NULL,
  progress BIGINT NOT NULL,
  host VARCHAR(255) NOT NULL,
  node VARCHAR(255) NOT NULL,
  zone VARCHAR(255) NOT NULL,
  pinned_zone VARCHAR(255) NOT NULL,
  image_id {{.ID}} NOT NULL,
  flavor_id VARCHAR(255) NOT NULL,
  vcpus BIGINT NOT NULL,
  memory_mb BIGINT NOT NULL,
  root_gb BIGINT NOT NULL,
  ephemeral_gb BIGINT NOT NULL,
  key_name VARCHAR(255) NOT NULL,
  config_drive {{.Bool}} NOT NULL,
  user_data {{.Text}} NOT NULL,
  disk_config VARCHAR(16) NOT NULL,
  access_ipv4 VARCHAR(64) NOT NULL,
  access_ipv6 VARCHAR(64) NOT NULL,
  root_device VARCHAR(64) NOT NULL,
  locked_by VARCHAR(16) NOT NULL,
  locked_reason VARCHAR(255) NOT NULL,
  group_id {{.ID}} NOT NULL,
  old_vm_state VARCHAR(32) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  launched_at {{.Time}},
  terminated_at {{.Time}},
  deleted_at {{.Time}},
  spec {{.JSON}} NOT NULL,
  fault {{.JSON}} NOT NULL
) {{.Options}};
CREATE INDEX servers_project ON servers (project_id, created_at);
CREATE INDEX servers_created ON servers (created_at);
CREATE INDEX servers_host ON servers (host);
CREATE INDEX servers_group ON servers (group_id);

CREATE TABLE server_metadata (
  server_id {{.ID}} NOT NULL,
  name VARCHAR(255) NOT NULL,
  text_value VARCHAR(255) NOT NULL,
  PRIMARY KEY (server_id, name)
) {{.Options}};
CREATE TABLE server_tags (
  server_id {{.ID}} NOT NULL,
  tag VARCHAR(80) NOT NULL,
  PRIMARY KEY (server_id, tag)
) {{.Options}};
CREATE INDEX server_tags_tag ON server_tags (tag);
CREATE TABLE server_ports (
  id {{.ID}} NOT NULL PRIMARY KEY,
  server_id {{.ID}} NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  port_id {{.ID}} NOT NULL,
  network_id {{.ID}} NOT NULL,
  fixed_ip VARCHAR(64) NOT NULL,
  tag VARCHAR(80) NOT NULL,
  owned {{.Bool}} NOT NULL,
  state VARCHAR(16) NOT NULL,
  info {{.JSON}} NOT NULL
) {{.Options}};
CREATE INDEX server_ports_server ON server_ports (server_id);
CREATE INDEX server_ports_port ON server_ports (port_id);

CREATE TABLE instance_actions (
  id {{.ID}} NOT NULL PRIMARY KEY,
  server_id {{.ID}} NOT NULL,
  action VARCHAR(64) NOT NULL,
  request_id VARCHAR(64) NOT NULL,
  user_id {{.ID}} NOT NULL,
  project_id {{.ID}} NOT NULL,
  start_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  message VARCHAR(255) NOT NULL
) {{.Options}};
CREATE INDEX instance_actions_server ON instance_actions (server_id, start_at);
CREATE TABLE instance_action_events (
  id {{.ID}} NOT NULL PRIMARY KEY,
  action_id {{.ID}} NOT NULL REFERENCES instance_actions (id) ON DELETE CASCADE,
  event VARCHAR(64) NOT NULL,
  host VARCHAR(255) NOT NULL,
  start_at {{.Time}} NOT NULL,
  finish_at {{.Time}},
  result VARCHAR(16) NOT NULL,
  details {{.Text}} NOT NULL,
  traceback {{.Text}} NOT NULL,
  UNIQUE (action_id, event)
) {{.Options}};
CREATE TABLE birth_steps (
  action_id {{.ID}} NOT NULL REFERENCES instance_actions (id) ON DELETE CASCADE,
  seq BIGINT NOT NULL,
  server_id {{.ID}} NOT NULL,
  step BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  part VARCHAR(64) NOT NULL,
  detail {{.Text}} NOT NULL,
  start_at {{.Time}} NOT NULL,
  duration_ns BIGINT NOT NULL,
  note VARCHAR(64) NOT NULL,
  error_text {{.Text}} NOT NULL,
  PRIMARY KEY (action_id, seq)
) {{.Options}};

CREATE TABLE server_groups (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id {{.ID}} NOT NULL,
  user_id {{.ID}} NOT NULL,
  name VARCHAR(255) NOT NULL,
  policy VARCHAR(32) NOT NULL,
  max_per_host BIGINT NOT NULL,
  created_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX server_groups_project ON server_groups (project_id);

CREATE TABLE services (
  id {{.Serial}},
  uuid {{.ID}} NOT NULL UNIQUE,
  host VARCHAR(255) NOT NULL,
  service_binary VARCHAR(64) NOT NULL,
  disabled {{.Bool}} NOT NULL,
  disabled_reason VARCHAR(255),
  forced_down {{.Bool}} NOT NULL,
  seen_at {{.Time}},
  updated_at {{.Time}},
  created_at {{.Time}} NOT NULL,
  UNIQUE (host, service_binary)
) {{.Options}};
CREATE TABLE nodes (
  id {{.Serial}},
  uuid {{.ID}} NOT NULL UNIQUE,
  host VARCHAR(255) NOT NULL,
  name VARCHAR(255) NOT NULL UNIQUE,
  boot_id VARCHAR(64) NOT NULL,
  synced {{.Bool}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  inventory {{.JSON}} NOT NULL
) {{.Options}};

CREATE TABLE aggregates (
  id {{.Serial}},
  uuid {{.ID}} NOT NULL UNIQUE,
  name VARCHAR(255) NOT NULL UNIQUE,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}}
) {{.Options}};
CREATE TABLE aggregate_hosts (
  aggregate_id BIGINT NOT NULL,
  host VARCHAR(255) NOT NULL,
  added_at {{.Time}} NOT NULL,
  PRIMARY KEY (aggregate_id, host)
) {{.Options}};
CREATE TABLE aggregate_metadata (
  aggregate_id BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  text_value VARCHAR(255) NOT NULL,
  PRIMARY KEY (aggregate_id, name)
) {{.Options}};

CREATE TABLE quotas (
  project_id {{.ID}} NOT NULL,
  user_id {{.ID}} NOT NULL,
  resource VARCHAR(64) NOT NULL,
  hard_limit BIGINT NOT NULL,
  PRIMARY KEY (project_id, user_id, resource)
) {{.Options}};
CREATE TABLE quota_classes (
  class VARCHAR(255) NOT NULL,
  resource VARCHAR(64) NOT NULL,
  hard_limit BIGINT NOT NULL,
  PRIMARY KEY (class, resource)
) {{.Options}};
CREATE TABLE quota_locks (
  project_id {{.ID}} NOT NULL PRIMARY KEY,
  locked_at {{.Time}} NOT NULL
) {{.Options}};

CREATE TABLE migrations_of_servers (
  id {{.Serial}},
  uuid {{.ID}} NOT NULL UNIQUE,
  server_id {{.ID}} NOT NULL,
  project_id {{.ID}} NOT NULL,
  user_id {{.ID}} NOT NULL,
  type VARCHAR(32) NOT NULL,
  status VARCHAR(32) NOT NULL,
  source_host VARCHAR(255) NOT NULL,
  source_node VARCHAR(255) NOT NULL,
  dest_host VARCHAR(255) NOT NULL,
  dest_node VARCHAR(255) NOT NULL,
  old_flavor_id VARCHAR(255) NOT NULL,
  new_flavor_id VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX migrations_of_servers_server ON migrations_of_servers (server_id);

-- One line for each server that is gone, for changes-since, deleted=true and
-- usage; bounded by the manager.
CREATE TABLE deleted_servers (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id {{.ID}} NOT NULL,
  user_id {{.ID}} NOT NULL,
  name VARCHAR(255) NOT NULL,
  description {{.Text}},
  hostname VARCHAR(255) NOT NULL,
  reservation_id VARCHAR(64) NOT NULL,
  launch_index BIGINT NOT NULL,
  vm_state VARCHAR(32) NOT NULL,
  task_state VARCHAR(32) NOT NULL,
  power_state BIGINT NOT NULL,
  progress BIGINT NOT NULL,
  host VARCHAR(255) NOT NULL,
  node VARCHAR(255) NOT NULL,
  zone VARCHAR(255) NOT NULL,
  pinned_zone VARCHAR(255) NOT NULL,
  image_id {{.ID}} NOT NULL,
  flavor_id VARCHAR(255) NOT NULL,
  vcpus BIGINT NOT NULL,
  memory_mb BIGINT NOT NULL,
  root_gb BIGINT NOT NULL,
  ephemeral_gb BIGINT NOT NULL,
  key_name VARCHAR(255) NOT NULL,
  config_drive {{.Bool}} NOT NULL,
  user_data {{.Text}} NOT NULL,
  disk_config VARCHAR(16) NOT NULL,
  access_ipv4 VARCHAR(64) NOT NULL,
  access_ipv6 VARCHAR(64) NOT NULL,
  root_device VARCHAR(64) NOT NULL,
  locked_by VARCHAR(16) NOT NULL,
  locked_reason VARCHAR(255) NOT NULL,
  group_id {{.ID}} NOT NULL,
  old_vm_state VARCHAR(32) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  launched_at {{.Time}},
  terminated_at {{.Time}},
  deleted_at {{.Time}},
  spec {{.JSON}} NOT NULL,
  fault {{.JSON}} NOT NULL
) {{.Options}};
CREATE INDEX deleted_servers_at ON deleted_servers (deleted_at);
CREATE INDEX deleted_servers_project ON deleted_servers (project_id, created_at);
CREATE VIEW all_servers AS SELECT * FROM servers UNION ALL SELECT * FROM deleted_servers;
