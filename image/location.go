package image

import "time"

// Location is a copy of an image's data on a control node.
type Location struct {
	Key       string    `db:"data_key"`
	Node      string    `db:"node"`
	Ready     bool      `db:"ready"` // complete
	Size      int64     `db:"size_bytes"`
	Hash      string    `db:"hash_value"` // SHA-512, hexadecimal
	CreatedAt time.Time `db:"created_at"`
}

// Node is a control node that keeps image data.
type Node struct {
	Name   string    `db:"name"`
	URL    string    `db:"url"` // of its image API, for the other nodes
	SeenAt time.Time `db:"seen_at"`
}
