package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// IDMapping is what a public id stands for: an entry of a domain's directory.
type IDMapping struct {
	PublicID   string `db:"public_id"`
	DomainID   string `db:"domain_id"`
	EntityType string `db:"entity_type"` // ActorUser or ActorGroup
	LocalID    string `db:"local_id"`
}

// NewIDMapping makes a mapping with the public id that Keystone's sha256
// generator makes: of the domain, the type and the local id, in this order.
func NewIDMapping(domainID, entityType, localID string) IDMapping {
	sum := sha256.Sum256([]byte(domainID + entityType + localID))
	return IDMapping{hex.EncodeToString(sum[:]), domainID, entityType, localID}
}

// MaybePublicID reports whether a text looks like a public id: 64 hex digits.
// Keystone gives such ids to federated users as well.
func MaybePublicID(id string) bool {
	return len(id) == 64 && strings.Trim(id, "0123456789abcdef") == ""
}

// DirectoryPrefix begins the unique name of the rows that stand for users of a
// directory, so that no login and no list takes them for users of our own.
const DirectoryPrefix = "\x02"
