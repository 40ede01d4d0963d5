-- +goose Up
-- How many revocations there ever were: what was found out about a token's
-- revocation holds while this stays.
ALTER TABLE generation ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;
