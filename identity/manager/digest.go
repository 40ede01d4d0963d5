package manager

import (
	"crypto/sha256"
	"encoding/hex"
)

func keyDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// EC2ID is the id of the credential that holds an EC2 access key.
func EC2ID(access string) string { return keyDigest(access) }
