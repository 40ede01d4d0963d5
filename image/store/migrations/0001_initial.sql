-- +goose Up
CREATE TABLE images (
  id {{.ID}} NOT NULL PRIMARY KEY,
  name VARCHAR(255),
  status VARCHAR(16) NOT NULL,
  visibility VARCHAR(16) NOT NULL,
  owner_id VARCHAR(255) NOT NULL,
  size_bytes BIGINT,
  virtual_size BIGINT,
  disk_format VARCHAR(32),
  container_format VARCHAR(32),
  checksum VARCHAR(32),
  hash_algo VARCHAR(64),
  hash_value VARCHAR(128),
  min_disk BIGINT NOT NULL,
  min_ram BIGINT NOT NULL,
  protected {{.Bool}} NOT NULL,
  hidden {{.Bool}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  store_name VARCHAR(64) NOT NULL,
  data_key {{.ID}} NOT NULL,
  upload_key {{.ID}} NOT NULL,
  upload_owner VARCHAR(255) NOT NULL,
  upload_beat {{.Time}}
) {{.Options}};
CREATE INDEX images_owner ON images (owner_id);
CREATE INDEX images_created ON images (created_at, id);

CREATE TABLE image_properties (
  image_id {{.ID}} NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  name VARCHAR(255) NOT NULL,
  text_value {{.Text}} NOT NULL,
  PRIMARY KEY (image_id, name)
) {{.Options}};

CREATE TABLE image_tags (
  image_id {{.ID}} NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  tag VARCHAR(255) NOT NULL,
  PRIMARY KEY (image_id, tag)
) {{.Options}};

CREATE TABLE image_members (
  image_id {{.ID}} NOT NULL REFERENCES images (id) ON DELETE CASCADE,
  member_id VARCHAR(255) NOT NULL,
  status VARCHAR(16) NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  PRIMARY KEY (image_id, member_id)
) {{.Options}};
CREATE INDEX image_members_member ON image_members (member_id);

-- Data that no image will refer to: a key is here from before its first byte
-- is written until it belongs to an image or is deleted.
CREATE TABLE garbage (
  data_key {{.ID}} NOT NULL PRIMARY KEY,
  store_name VARCHAR(64) NOT NULL,
  created_at {{.Time}} NOT NULL
) {{.Options}};

CREATE TABLE tasks (
  id {{.ID}} NOT NULL PRIMARY KEY,
  image_id {{.ID}} NOT NULL,
  owner_id VARCHAR(255) NOT NULL,
  user_id VARCHAR(255) NOT NULL,
  request_id VARCHAR(255) NOT NULL,
  status VARCHAR(16) NOT NULL,
  method VARCHAR(32) NOT NULL,
  input {{.Text}} NOT NULL,
  message {{.Text}} NOT NULL,
  created_at {{.Time}} NOT NULL,
  updated_at {{.Time}} NOT NULL,
  expires_at {{.Time}}
) {{.Options}};
CREATE INDEX tasks_image ON tasks (image_id);

-- +goose Down
DROP TABLE tasks;
DROP TABLE garbage;
DROP TABLE image_members;
DROP TABLE image_tags;
DROP TABLE image_properties;
DROP TABLE images;
