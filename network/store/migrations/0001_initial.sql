-- +goose Up
CREATE TABLE project_locks (
  project_id VARCHAR(255) NOT NULL PRIMARY KEY,
  touched_at {{.Time}} NOT NULL
) {{.Options}};
CREATE TABLE networks (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  admin_state_up {{.Bool}} NOT NULL,
  status VARCHAR(16) NOT NULL,
  mtu BIGINT NOT NULL,
  port_security_enabled {{.Bool}} NOT NULL,
  external {{.Bool}} NOT NULL,
  is_default {{.Bool}} NOT NULL,
  dns_domain VARCHAR(255) NOT NULL,
  az_hints {{.JSON}} NOT NULL,
  network_type VARCHAR(32) NOT NULL,
  physical_network VARCHAR(64),
  segmentation_id BIGINT,
  segment_key VARCHAR(128) NOT NULL,
  UNIQUE (segment_key)
) {{.Options}};
CREATE INDEX networks_project ON networks (project_id);
CREATE TABLE address_scopes (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  ip_version BIGINT NOT NULL
) {{.Options}};
CREATE TABLE subnetpools (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  prefixes {{.JSON}} NOT NULL,
  ip_version BIGINT NOT NULL,
  default_prefixlen BIGINT NOT NULL,
  min_prefixlen BIGINT NOT NULL,
  max_prefixlen BIGINT NOT NULL,
  default_quota BIGINT,
  is_default {{.Bool}} NOT NULL,
  address_scope_id {{.ID}},
  FOREIGN KEY (address_scope_id) REFERENCES address_scopes (id)
) {{.Options}};
CREATE TABLE subnets (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  network_id {{.ID}} NOT NULL,
  ip_version BIGINT NOT NULL,
  cidr VARCHAR(64) NOT NULL,
  gateway_ip VARCHAR(64),
  enable_dhcp {{.Bool}} NOT NULL,
  ipv6_ra_mode VARCHAR(32),
  ipv6_address_mode VARCHAR(32),
  allocation_pools {{.JSON}} NOT NULL,
  dns_nameservers {{.JSON}} NOT NULL,
  host_routes {{.JSON}} NOT NULL,
  service_types {{.JSON}} NOT NULL,
  subnetpool_id {{.ID}},
  dns_publish_fixed_ip {{.Bool}} NOT NULL,
  FOREIGN KEY (network_id) REFERENCES networks (id),
  FOREIGN KEY (subnetpool_id) REFERENCES subnetpools (id)
) {{.Options}};
CREATE INDEX subnets_network ON subnets (network_id);
CREATE INDEX subnets_project ON subnets (project_id);
CREATE TABLE ports (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  network_id {{.ID}} NOT NULL,
  mac_address VARCHAR(32) NOT NULL,
  admin_state_up {{.Bool}} NOT NULL,
  status VARCHAR(16) NOT NULL,
  device_id VARCHAR(255) NOT NULL,
  device_owner VARCHAR(255) NOT NULL,
  port_security_enabled {{.Bool}} NOT NULL,
  allowed_address_pairs {{.JSON}} NOT NULL,
  extra_dhcp_opts {{.JSON}} NOT NULL,
  dns_name VARCHAR(255) NOT NULL,
  dns_domain VARCHAR(255) NOT NULL,
  host_id VARCHAR(255) NOT NULL,
  vnic_type VARCHAR(64) NOT NULL,
  profile {{.JSON}} NOT NULL,
  vif_type VARCHAR(64) NOT NULL,
  vif_details {{.JSON}} NOT NULL,
  UNIQUE (network_id, mac_address),
  FOREIGN KEY (network_id) REFERENCES networks (id)
) {{.Options}};
CREATE INDEX ports_project ON ports (project_id);
CREATE INDEX ports_device ON ports (device_id);
CREATE TABLE allocations (
  subnet_id {{.ID}} NOT NULL,
  address VARCHAR(64) NOT NULL,
  port_id {{.ID}} NOT NULL,
  network_id {{.ID}} NOT NULL,
  position_no BIGINT NOT NULL,
  PRIMARY KEY (subnet_id, address),
  FOREIGN KEY (subnet_id) REFERENCES subnets (id),
  FOREIGN KEY (port_id) REFERENCES ports (id)
) {{.Options}};
CREATE INDEX allocations_port ON allocations (port_id);
CREATE INDEX allocations_network ON allocations (network_id);
CREATE TABLE security_groups (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  stateful {{.Bool}} NOT NULL,
  is_default {{.Bool}} NOT NULL
) {{.Options}};
CREATE INDEX security_groups_project ON security_groups (project_id);
CREATE TABLE default_security_groups (
  project_id VARCHAR(255) NOT NULL PRIMARY KEY,
  group_id {{.ID}} NOT NULL,
  FOREIGN KEY (group_id) REFERENCES security_groups (id)
) {{.Options}};
CREATE TABLE address_groups (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  addresses {{.JSON}} NOT NULL
) {{.Options}};
CREATE TABLE security_group_rules (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  security_group_id {{.ID}} NOT NULL,
  direction VARCHAR(16) NOT NULL,
  ethertype VARCHAR(16) NOT NULL,
  protocol VARCHAR(64),
  port_range_min BIGINT,
  port_range_max BIGINT,
  remote_ip_prefix VARCHAR(64),
  remote_group_id {{.ID}},
  remote_address_group_id {{.ID}},
  same_key VARCHAR(255) NOT NULL,
  UNIQUE (same_key),
  FOREIGN KEY (security_group_id) REFERENCES security_groups (id),
  FOREIGN KEY (remote_group_id) REFERENCES security_groups (id),
  FOREIGN KEY (remote_address_group_id) REFERENCES address_groups (id)
) {{.Options}};
CREATE INDEX security_group_rules_group ON security_group_rules (security_group_id);
CREATE INDEX security_group_rules_project ON security_group_rules (project_id);
CREATE TABLE port_security_groups (
  port_id {{.ID}} NOT NULL,
  group_id {{.ID}} NOT NULL,
  PRIMARY KEY (port_id, group_id),
  FOREIGN KEY (port_id) REFERENCES ports (id),
  FOREIGN KEY (group_id) REFERENCES security_groups (id)
) {{.Options}};
CREATE INDEX port_security_groups_group ON port_security_groups (group_id);
CREATE TABLE flavors (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  service_type VARCHAR(64) NOT NULL,
  enabled {{.Bool}} NOT NULL
) {{.Options}};
CREATE TABLE service_profiles (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  driver VARCHAR(1024) NOT NULL,
  enabled {{.Bool}} NOT NULL,
  metainfo {{.Text}} NOT NULL
) {{.Options}};
CREATE TABLE flavor_profiles (
  flavor_id {{.ID}} NOT NULL,
  profile_id {{.ID}} NOT NULL,
  PRIMARY KEY (flavor_id, profile_id),
  FOREIGN KEY (flavor_id) REFERENCES flavors (id),
  FOREIGN KEY (profile_id) REFERENCES service_profiles (id)
) {{.Options}};
CREATE TABLE routers (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  name VARCHAR(255) NOT NULL,
  admin_state_up {{.Bool}} NOT NULL,
  status VARCHAR(16) NOT NULL,
  distributed {{.Bool}} NOT NULL,
  ha {{.Bool}} NOT NULL,
  az_hints {{.JSON}} NOT NULL,
  routes {{.JSON}} NOT NULL,
  flavor_id {{.ID}},
  gateway_port_id {{.ID}},
  enable_snat {{.Bool}} NOT NULL,
  FOREIGN KEY (gateway_port_id) REFERENCES ports (id),
  FOREIGN KEY (flavor_id) REFERENCES flavors (id)
) {{.Options}};
CREATE INDEX routers_project ON routers (project_id);
CREATE TABLE floatingips (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  floating_network_id {{.ID}} NOT NULL,
  floating_ip_address VARCHAR(64) NOT NULL,
  floating_subnet_id {{.ID}} NOT NULL,
  floating_port_id {{.ID}} NOT NULL,
  port_id {{.ID}},
  fixed_ip_address VARCHAR(64),
  router_id {{.ID}},
  status VARCHAR(16) NOT NULL,
  dns_name VARCHAR(255) NOT NULL,
  dns_domain VARCHAR(255) NOT NULL,
  UNIQUE (floating_port_id),
  UNIQUE (port_id, fixed_ip_address, floating_network_id),
  FOREIGN KEY (floating_port_id) REFERENCES ports (id),
  FOREIGN KEY (port_id) REFERENCES ports (id),
  FOREIGN KEY (router_id) REFERENCES routers (id)
) {{.Options}};
CREATE INDEX floatingips_project ON floatingips (project_id);
CREATE TABLE rbac_policies (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  object_type VARCHAR(32) NOT NULL,
  object_id {{.ID}} NOT NULL,
  action VARCHAR(32) NOT NULL,
  target_project VARCHAR(255) NOT NULL,
  UNIQUE (object_id, action, target_project)
) {{.Options}};
CREATE INDEX rbac_policies_target ON rbac_policies (target_project);
CREATE TABLE agents (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  agent_type VARCHAR(255) NOT NULL,
  binary_name VARCHAR(255) NOT NULL,
  host VARCHAR(255) NOT NULL,
  topic VARCHAR(255) NOT NULL,
  availability_zone VARCHAR(255) NOT NULL,
  admin_state_up {{.Bool}} NOT NULL,
  configurations {{.JSON}} NOT NULL,
  started_at VARCHAR(32) NOT NULL,
  heartbeat_at VARCHAR(32) NOT NULL,
  last_seen {{.Float}} NOT NULL,
  UNIQUE (agent_type, host)
) {{.Options}};
CREATE TABLE tags (
  resource_id {{.ID}} NOT NULL,
  tag VARCHAR(255) NOT NULL,
  PRIMARY KEY (resource_id, tag)
) {{.Options}};
CREATE INDEX tags_tag ON tags (tag);
CREATE TABLE quotas (
  project_id VARCHAR(255) NOT NULL,
  resource VARCHAR(64) NOT NULL,
  limit_value BIGINT NOT NULL,
  PRIMARY KEY (project_id, resource)
) {{.Options}};
CREATE TABLE auto_topologies (
  project_id VARCHAR(255) NOT NULL PRIMARY KEY,
  network_id {{.ID}} NOT NULL,
  router_id {{.ID}} NOT NULL
) {{.Options}};
CREATE TABLE dirty (
  kind VARCHAR(32) NOT NULL,
  object_id {{.ID}} NOT NULL,
  version {{.ID}} NOT NULL,
  attempts BIGINT NOT NULL,
  due_at {{.Time}} NOT NULL,
  problem {{.Text}} NOT NULL,
  PRIMARY KEY (kind, object_id)
) {{.Options}};
CREATE INDEX dirty_due ON dirty (due_at);
CREATE TABLE provider_addresses (
  subnet_id {{.ID}} NOT NULL PRIMARY KEY,
  prefix VARCHAR(64) NOT NULL
) {{.Options}};
