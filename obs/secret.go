package obs

import (
	"fmt"
	"log/slog"
)

const redacted = "***"

// Secret is text that fmt, slog and encoding/json print as ***. Convert it
// with string(s) where it is really needed. Go prints two places as they are,
// so keep it out of them: an unexported field of a struct that is printed
// whole, and the key of a map that is encoded as JSON.
type Secret string

var (
	_ fmt.Stringer   = Secret("")
	_ fmt.Formatter  = Secret("")
	_ slog.LogValuer = Secret("")
)

// String returns ***.
func (Secret) String() string { return redacted }

// GoString returns *** (the verb %#v).
func (Secret) GoString() string { return redacted }

// Format prints *** for every verb, %x and %q included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue logs ***.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON encodes "***"; decoding keeps the text.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText encodes *** for YAML and XML.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
