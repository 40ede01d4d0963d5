-- +goose Up
CREATE TABLE default_group_rules (
  id {{.ID}} NOT NULL PRIMARY KEY,
  project_id VARCHAR(255) NOT NULL,
  description VARCHAR(255) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  revision_number BIGINT NOT NULL,
  direction VARCHAR(16) NOT NULL,
  ethertype VARCHAR(16) NOT NULL,
  protocol VARCHAR(64),
  port_range_min BIGINT,
  port_range_max BIGINT,
  remote_ip_prefix VARCHAR(64),
  remote_group_id {{.ID}},
  remote_address_group_id {{.ID}},
  in_default {{.Bool}} NOT NULL,
  in_other {{.Bool}} NOT NULL,
  same_key VARCHAR(255) NOT NULL,
  UNIQUE (same_key)
) {{.Options}};
INSERT INTO default_group_rules (id, project_id, description, created_at, updated_at, revision_number, direction, ethertype, remote_group_id, in_default, in_other, same_key) VALUES ('5ec00000-0000-4000-8000-000000000001', '', '', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', 1, 'egress', 'IPv4', NULL, TRUE, TRUE, 'template/egress/IPv4/-/-/-/-/-/-');
INSERT INTO default_group_rules (id, project_id, description, created_at, updated_at, revision_number, direction, ethertype, remote_group_id, in_default, in_other, same_key) VALUES ('5ec00000-0000-4000-8000-000000000002', '', '', '2026-01-01 00:00:00.000001', '2026-01-01 00:00:00.000001', 1, 'egress', 'IPv6', NULL, TRUE, TRUE, 'template/egress/IPv6/-/-/-/-/-/-');
INSERT INTO default_group_rules (id, project_id, description, created_at, updated_at, revision_number, direction, ethertype, remote_group_id, in_default, in_other, same_key) VALUES ('5ec00000-0000-4000-8000-000000000003', '', '', '2026-01-01 00:00:00.000002', '2026-01-01 00:00:00.000002', 1, 'ingress', 'IPv4', 'PARENT', TRUE, FALSE, 'template/ingress/IPv4/-/-/-/-/PARENT/-');
INSERT INTO default_group_rules (id, project_id, description, created_at, updated_at, revision_number, direction, ethertype, remote_group_id, in_default, in_other, same_key) VALUES ('5ec00000-0000-4000-8000-000000000004', '', '', '2026-01-01 00:00:00.000003', '2026-01-01 00:00:00.000003', 1, 'ingress', 'IPv6', 'PARENT', TRUE, FALSE, 'template/ingress/IPv6/-/-/-/-/PARENT/-');
