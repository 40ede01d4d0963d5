-- +goose Up
ALTER TABLE sagas ADD COLUMN problem VARCHAR(1024) NOT NULL DEFAULT '';
-- +goose Down
ALTER TABLE sagas DROP COLUMN problem;
