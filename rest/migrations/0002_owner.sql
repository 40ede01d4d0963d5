-- +goose Up
-- Whose a key is (a digest of the user; '' for the services' own), and how much
-- room it takes, so that no user fills the database.
ALTER TABLE idempotency ADD COLUMN owner VARCHAR(64) NOT NULL DEFAULT '';
ALTER TABLE idempotency ADD COLUMN kept_bytes INTEGER NOT NULL DEFAULT 0;
CREATE INDEX idempotency_by_owner ON idempotency (owner, kept_bytes);
