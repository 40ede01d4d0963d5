-- +goose Up
CREATE TABLE projects (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  description {{.Text}} NOT NULL,
  domain_id {{.ID}} NOT NULL,
  parent_id {{.ID}} NOT NULL,
  is_domain {{.Bool}} NOT NULL,
  enabled {{.Bool}} NOT NULL,
  options {{.JSON}} NOT NULL,
  extra {{.JSON}} NOT NULL,
  CONSTRAINT projects_name UNIQUE (domain_id, name, is_domain),
  CONSTRAINT projects_domain FOREIGN KEY (domain_id) REFERENCES projects (id),
  CONSTRAINT projects_parent FOREIGN KEY (parent_id) REFERENCES projects (id)
) {{.Options}};
-- The row that is the domain and the parent of every domain.
INSERT INTO projects (id, name, description, domain_id, parent_id, is_domain, enabled, options, extra)
  VALUES ('', '', '', '', '', FALSE, FALSE, '{}', '{}');
CREATE INDEX projects_by_parent ON projects (parent_id);
CREATE INDEX projects_by_name ON projects (name);
CREATE TABLE project_tags (
  project_id {{.ID}} NOT NULL,
  name VARCHAR(255) NOT NULL,
  PRIMARY KEY (project_id, name),
  CONSTRAINT project_tags_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE users (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  unique_name VARCHAR(255) NOT NULL,
  domain_id {{.ID}} NOT NULL,
  description {{.Text}} NOT NULL,
  default_project_id {{.ID}},
  enabled {{.Bool}} NOT NULL,
  options {{.JSON}} NOT NULL,
  extra {{.JSON}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  last_active_at {{.Time}},
  failed_auths BIGINT NOT NULL,
  failed_auth_at {{.Time}},
  CONSTRAINT users_name UNIQUE (domain_id, unique_name),
  CONSTRAINT users_domain FOREIGN KEY (domain_id) REFERENCES projects (id)
) {{.Options}};
CREATE INDEX users_by_name ON users (name);
CREATE INDEX users_by_default_project ON users (default_project_id);
CREATE TABLE passwords (
  id {{.ID}} NOT NULL PRIMARY KEY,
  user_id {{.ID}} NOT NULL,
  hash VARCHAR(255) NOT NULL,
  self_service {{.Bool}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  expires_at {{.Time}},
  CONSTRAINT passwords_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {{.Options}};
CREATE INDEX passwords_by_user ON passwords (user_id, created_at);
CREATE TABLE user_groups (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  domain_id {{.ID}} NOT NULL,
  description {{.Text}} NOT NULL,
  extra {{.JSON}} NOT NULL,
  CONSTRAINT user_groups_name UNIQUE (domain_id, name),
  CONSTRAINT user_groups_domain FOREIGN KEY (domain_id) REFERENCES projects (id)
) {{.Options}};
CREATE TABLE memberships (
  user_id {{.ID}} NOT NULL,
  group_id {{.ID}} NOT NULL,
  PRIMARY KEY (user_id, group_id),
  CONSTRAINT memberships_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT memberships_group FOREIGN KEY (group_id) REFERENCES user_groups (id) ON DELETE CASCADE
) {{.Options}};
CREATE INDEX memberships_by_group ON memberships (group_id);
-- Groups that an identity provider said a federated user is in, for a time.
CREATE TABLE expiring_memberships (
  user_id {{.ID}} NOT NULL,
  group_id {{.ID}} NOT NULL,
  idp_id {{.ID}} NOT NULL,
  expires_at {{.Time}} NOT NULL,
  PRIMARY KEY (user_id, group_id, idp_id),
  CONSTRAINT expiring_memberships_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
  CONSTRAINT expiring_memberships_group FOREIGN KEY (group_id) REFERENCES user_groups (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE roles (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  domain_id {{.ID}} NOT NULL,
  description {{.Text}} NOT NULL,
  options {{.JSON}} NOT NULL,
  extra {{.JSON}} NOT NULL,
  CONSTRAINT roles_name UNIQUE (domain_id, name),
  CONSTRAINT roles_domain FOREIGN KEY (domain_id) REFERENCES projects (id)
) {{.Options}};
CREATE TABLE implied_roles (
  prior_role_id {{.ID}} NOT NULL,
  implied_role_id {{.ID}} NOT NULL,
  PRIMARY KEY (prior_role_id, implied_role_id),
  CONSTRAINT implied_roles_prior FOREIGN KEY (prior_role_id) REFERENCES roles (id) ON DELETE CASCADE,
  CONSTRAINT implied_roles_implied FOREIGN KEY (implied_role_id) REFERENCES roles (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE assignments (
  actor_type VARCHAR(8) NOT NULL,
  actor_id {{.ID}} NOT NULL,
  target_type VARCHAR(8) NOT NULL,
  target_id {{.ID}} NOT NULL,
  role_id {{.ID}} NOT NULL,
  inherited {{.Bool}} NOT NULL,
  PRIMARY KEY (actor_id, target_id, role_id, inherited, actor_type, target_type),
  CONSTRAINT assignments_role FOREIGN KEY (role_id) REFERENCES roles (id) ON DELETE CASCADE
) {{.Options}};
CREATE INDEX assignments_by_target ON assignments (target_id);
CREATE TABLE regions (
  id VARCHAR(255) NOT NULL PRIMARY KEY,
  description {{.Text}} NOT NULL,
  parent_region_id VARCHAR(255),
  extra {{.JSON}} NOT NULL,
  CONSTRAINT regions_parent FOREIGN KEY (parent_region_id) REFERENCES regions (id)
) {{.Options}};
CREATE TABLE services (
  id {{.ID}} NOT NULL PRIMARY KEY,
  service_type VARCHAR(255) NOT NULL,
  name VARCHAR(255) NOT NULL,
  enabled {{.Bool}} NOT NULL,
  extra {{.JSON}} NOT NULL
) {{.Options}};
CREATE TABLE endpoints (
  id {{.ID}} NOT NULL PRIMARY KEY,
  service_id {{.ID}} NOT NULL,
  region_id VARCHAR(255),
  interface VARCHAR(8) NOT NULL,
  url {{.Text}} NOT NULL,
  enabled {{.Bool}} NOT NULL,
  extra {{.JSON}} NOT NULL,
  CONSTRAINT endpoints_service FOREIGN KEY (service_id) REFERENCES services (id) ON DELETE CASCADE,
  CONSTRAINT endpoints_region FOREIGN KEY (region_id) REFERENCES regions (id)
) {{.Options}};
CREATE TABLE endpoint_groups (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  description {{.Text}} NOT NULL,
  filters {{.JSON}} NOT NULL
) {{.Options}};
CREATE TABLE project_endpoints (
  project_id {{.ID}} NOT NULL,
  endpoint_id {{.ID}} NOT NULL,
  PRIMARY KEY (project_id, endpoint_id),
  CONSTRAINT project_endpoints_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE,
  CONSTRAINT project_endpoints_endpoint FOREIGN KEY (endpoint_id) REFERENCES endpoints (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE project_endpoint_groups (
  project_id {{.ID}} NOT NULL,
  endpoint_group_id {{.ID}} NOT NULL,
  PRIMARY KEY (project_id, endpoint_group_id),
  CONSTRAINT project_endpoint_groups_project FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE,
  CONSTRAINT project_endpoint_groups_group FOREIGN KEY (endpoint_group_id) REFERENCES endpoint_groups (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE policies (
  id {{.ID}} NOT NULL PRIMARY KEY,
  policy_type VARCHAR(255) NOT NULL,
  policy_blob {{.JSON}} NOT NULL,
  extra {{.JSON}} NOT NULL
) {{.Options}};
CREATE TABLE policy_associations (
  policy_id {{.ID}} NOT NULL,
  endpoint_id {{.ID}} NOT NULL,
  service_id {{.ID}} NOT NULL,
  region_id VARCHAR(255) NOT NULL,
  PRIMARY KEY (endpoint_id, service_id, region_id),
  CONSTRAINT policy_associations_policy FOREIGN KEY (policy_id) REFERENCES policies (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE trusts (
  id {{.ID}} NOT NULL PRIMARY KEY,
  trustor_user_id {{.ID}} NOT NULL,
  trustee_user_id {{.ID}} NOT NULL,
  project_id {{.ID}},
  impersonation {{.Bool}} NOT NULL,
  expires_at {{.Time}},
  deleted_at {{.Time}},
  remaining_uses BIGINT,
  redelegation_count BIGINT NOT NULL,
  redelegated_trust_id {{.ID}},
  role_ids {{.JSON}} NOT NULL,
  extra {{.JSON}} NOT NULL
) {{.Options}};
CREATE INDEX trusts_by_trustor ON trusts (trustor_user_id);
CREATE INDEX trusts_by_trustee ON trusts (trustee_user_id);
CREATE TABLE app_credentials (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255) NOT NULL,
  description {{.Text}} NOT NULL,
  user_id {{.ID}} NOT NULL,
  project_id {{.ID}} NOT NULL,
  system_scope {{.ID}},
  secret_hash VARCHAR(255) NOT NULL,
  expires_at {{.Time}},
  unrestricted {{.Bool}} NOT NULL,
  role_ids {{.JSON}} NOT NULL,
  rule_ids {{.JSON}} NOT NULL,
  ruled {{.Bool}} NOT NULL,
  CONSTRAINT app_credentials_name UNIQUE (user_id, name),
  CONSTRAINT app_credentials_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {{.Options}};
CREATE INDEX app_credentials_by_project ON app_credentials (project_id);
CREATE TABLE access_rules (
  id {{.ID}} NOT NULL PRIMARY KEY,
  user_id {{.ID}} NOT NULL,
  service VARCHAR(64) NOT NULL,
  http_method VARCHAR(16) NOT NULL,
  url_path VARCHAR(255) NOT NULL,
  CONSTRAINT access_rules_same UNIQUE (user_id, service, http_method, url_path),
  CONSTRAINT access_rules_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE credentials (
  id {{.ID}} NOT NULL PRIMARY KEY,
  user_id {{.ID}} NOT NULL,
  project_id {{.ID}},
  credential_type VARCHAR(255) NOT NULL,
  encrypted_blob {{.Text}} NOT NULL,
  key_hash VARCHAR(64) NOT NULL,
  extra {{.JSON}} NOT NULL
) {{.Options}};
CREATE INDEX credentials_by_user ON credentials (user_id);
CREATE INDEX credentials_by_project ON credentials (project_id);
CREATE TABLE registered_limits (
  id {{.ID}} NOT NULL PRIMARY KEY,
  service_id {{.ID}} NOT NULL,
  region_id VARCHAR(255),
  region_key VARCHAR(255) NOT NULL,
  resource_name VARCHAR(255) NOT NULL,
  default_limit BIGINT NOT NULL,
  description {{.Text}},
  CONSTRAINT registered_limits_same UNIQUE (service_id, region_key, resource_name),
  CONSTRAINT registered_limits_service FOREIGN KEY (service_id) REFERENCES services (id),
  CONSTRAINT registered_limits_region FOREIGN KEY (region_id) REFERENCES regions (id)
) {{.Options}};
CREATE TABLE limits (
  id {{.ID}} NOT NULL PRIMARY KEY,
  registered_limit_id {{.ID}} NOT NULL,
  service_id {{.ID}} NOT NULL,
  region_id VARCHAR(255),
  resource_name VARCHAR(255) NOT NULL,
  resource_limit BIGINT NOT NULL,
  description {{.Text}},
  project_id {{.ID}},
  domain_id {{.ID}},
  owner_id {{.ID}} NOT NULL,
  CONSTRAINT limits_same UNIQUE (registered_limit_id, owner_id),
  CONSTRAINT limits_registered FOREIGN KEY (registered_limit_id) REFERENCES registered_limits (id),
  CONSTRAINT limits_owner FOREIGN KEY (owner_id) REFERENCES projects (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE domain_configs (
  domain_id {{.ID}} NOT NULL,
  group_name VARCHAR(255) NOT NULL,
  option_name VARCHAR(255) NOT NULL,
  value_json {{.JSON}} NOT NULL,
  PRIMARY KEY (domain_id, group_name, option_name),
  CONSTRAINT domain_configs_domain FOREIGN KEY (domain_id) REFERENCES projects (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE consumers (
  id {{.ID}} NOT NULL PRIMARY KEY,
  description {{.Text}} NOT NULL,
  secret VARCHAR(64) NOT NULL,
  extra {{.JSON}} NOT NULL
) {{.Options}};
CREATE TABLE request_tokens (
  id {{.ID}} NOT NULL PRIMARY KEY,
  secret VARCHAR(64) NOT NULL,
  verifier VARCHAR(64) NOT NULL,
  authorizing_user_id {{.ID}},
  requested_project_id {{.ID}} NOT NULL,
  role_ids {{.JSON}} NOT NULL,
  consumer_id {{.ID}} NOT NULL,
  expires_at {{.Time}} NOT NULL,
  CONSTRAINT request_tokens_consumer FOREIGN KEY (consumer_id) REFERENCES consumers (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE access_tokens (
  id {{.ID}} NOT NULL PRIMARY KEY,
  secret VARCHAR(64) NOT NULL,
  authorizing_user_id {{.ID}} NOT NULL,
  project_id {{.ID}} NOT NULL,
  role_ids {{.JSON}} NOT NULL,
  consumer_id {{.ID}} NOT NULL,
  expires_at {{.Time}},
  CONSTRAINT access_tokens_consumer FOREIGN KEY (consumer_id) REFERENCES consumers (id) ON DELETE CASCADE,
  CONSTRAINT access_tokens_user FOREIGN KEY (authorizing_user_id) REFERENCES users (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE identity_providers (
  id {{.ID}} NOT NULL PRIMARY KEY,
  domain_id {{.ID}} NOT NULL,
  description {{.Text}},
  enabled {{.Bool}} NOT NULL,
  remote_ids {{.JSON}} NOT NULL,
  authorization_ttl BIGINT,
  CONSTRAINT identity_providers_domain FOREIGN KEY (domain_id) REFERENCES projects (id)
) {{.Options}};
CREATE TABLE idp_remote_ids (
  remote_id VARCHAR(255) NOT NULL PRIMARY KEY,
  idp_id {{.ID}} NOT NULL,
  CONSTRAINT idp_remote_ids_idp FOREIGN KEY (idp_id) REFERENCES identity_providers (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE mappings (
  id {{.ID}} NOT NULL PRIMARY KEY,
  rules {{.JSON}} NOT NULL,
  schema_version VARCHAR(8) NOT NULL
) {{.Options}};
CREATE TABLE federation_protocols (
  id {{.ID}} NOT NULL,
  idp_id {{.ID}} NOT NULL,
  mapping_id {{.ID}} NOT NULL,
  remote_id_attribute VARCHAR(64),
  PRIMARY KEY (idp_id, id),
  CONSTRAINT federation_protocols_idp FOREIGN KEY (idp_id) REFERENCES identity_providers (id) ON DELETE CASCADE
) {{.Options}};
CREATE TABLE service_providers (
  id {{.ID}} NOT NULL PRIMARY KEY,
  auth_url VARCHAR(256) NOT NULL,
  sp_url VARCHAR(256) NOT NULL,
  description {{.Text}},
  enabled {{.Bool}} NOT NULL,
  relay_state_prefix VARCHAR(256) NOT NULL
) {{.Options}};
CREATE TABLE federated_users (
  user_id {{.ID}} NOT NULL,
  idp_id {{.ID}} NOT NULL,
  protocol_id {{.ID}} NOT NULL,
  unique_id VARCHAR(255) NOT NULL,
  display_name VARCHAR(255) NOT NULL,
  PRIMARY KEY (idp_id, protocol_id, unique_id),
  CONSTRAINT federated_users_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE
) {{.Options}};
CREATE INDEX federated_users_by_user ON federated_users (user_id);
CREATE TABLE revocations (
  id {{.ID}} NOT NULL PRIMARY KEY,
  match_key VARCHAR(160) NOT NULL,
  domain_id {{.ID}},
  project_id {{.ID}},
  user_id {{.ID}},
  trust_id {{.ID}},
  consumer_id {{.ID}},
  access_token_id {{.ID}},
  app_cred_id {{.ID}},
  audit_id VARCHAR(32),
  audit_chain_id VARCHAR(32),
  issued_before {{.Time}} NOT NULL,
  revoked_at {{.Time}} NOT NULL,
  forget_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX revocations_by_key ON revocations (match_key, issued_before);
CREATE INDEX revocations_by_forget ON revocations (forget_at);
CREATE INDEX revocations_by_time ON revocations (revoked_at);
-- One row: the number that every change raises after which a token may mean
-- something else. What is remembered about tokens holds while it stays.
CREATE TABLE generation (
  id BIGINT NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL
) {{.Options}};
INSERT INTO generation (id, number) VALUES (1, 1);
-- Signatures and one-time passwords that were used, against replay.
CREATE TABLE used_secrets (
  digest VARCHAR(64) NOT NULL PRIMARY KEY,
  forget_at {{.Time}} NOT NULL
) {{.Options}};
CREATE INDEX used_secrets_by_forget ON used_secrets (forget_at);
