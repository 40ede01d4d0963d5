// Package driver is the contract between the image service and the places
// where image data lies.
package driver

import (
	"context"
	"io"
	"regexp"

	"github.com/tropocloud/tropo/fault"
)

// Driver keeps streams of bytes under keys. Keys are chosen by the service and
// used once, so data is never overwritten. Every call is idempotent. It is safe
// for concurrent use.
type Driver interface {
	// Create begins to write the data of key. Nothing is visible under key
	// before Commit; what an earlier writer of key left is replaced.
	Create(ctx context.Context, key string) (Writer, error)
	// Open reads length bytes from offset on, to the end if length is
	// negative. A key without data is fault.NotFound.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Delete removes the data of key, also of an unfinished writer. A key
	// without data is no error.
	Delete(ctx context.Context, key string) error
	// Keys lists all keys that hold data or unfinished data, for leak
	// checks.
	Keys(ctx context.Context) ([]string, error)
}

// Writer takes the data of one key. Either Commit or Abort ends it; Abort after
// Commit does nothing.
type Writer interface {
	io.Writer
	// Commit makes the data visible. It is on disk when Commit returns.
	Commit() error
	// Abort drops what was written.
	Abort() error
}

var keyPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// CheckKey refuses what is not a UUID in lower case, so that a key can never
// lead out of a driver's place (CVE-2014-9493, CVE-2015-1195).
func CheckKey(key string) error {
	if !keyPattern.MatchString(key) {
		return fault.Invalidf("%q is no key of image data.", key)
	}
	return nil
}
