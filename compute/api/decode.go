package api

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// number is an integer that clients may write as text.
type number int

// UnmarshalJSON reads 5, "5" and 5.0.
func (n *number) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	i, err := strconv.Atoi(strings.TrimSuffix(text, ".0"))
	if err != nil {
		return fault.Invalidf("%s is not an integer.", text)
	}
	*n = number(i)
	return nil
}

// boolean is a truth value in any of OpenStack's words.
type boolean bool

// UnmarshalJSON reads true, "true", "yes", "1" and so on.
func (v *boolean) UnmarshalJSON(b []byte) error {
	x, err := rest.ParseBool(strings.Trim(string(b), `"`))
	*v = boolean(x)
	return err
}

// text is a string that clients may write as a number.
type text string

// UnmarshalJSON reads "5" and 5; null is "".
func (t *text) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*t = ""
		return nil
	}
	if len(b) > 0 && b[0] == '"' {
		var s string
		err := json.Unmarshal(b, &s)
		*t = text(s)
		return err
	}
	*t = text(b)
	return nil
}

// nullable tells a missing value from null.
type nullable struct {
	set   bool
	value *string
}

// UnmarshalJSON reads text or null.
func (n *nullable) UnmarshalJSON(b []byte) error {
	n.set = true
	return json.Unmarshal(b, &n.value)
}

// pointer is nil when the value is missing.
func (n *nullable) pointer() **string {
	if !n.set {
		return nil
	}
	return &n.value
}

// moment renders a time as most of the API does.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// micros renders a time with microseconds and without a zone.
func micros(t *time.Time) any {
	if t == nil {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000")
}

// parseTime reads the forms of ISO 8601 that clients send.
func parseTime(name, s string) (*time.Time, error) {
	for _, f := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05-0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(f, strings.Replace(s, " 00:00", "+00:00", 1)); err == nil {
			t = t.UTC()
			return &t, nil
		}
	}
	return nil, fault.Invalidf("Invalid input for query parameters %s. Value: %s. '%s' is not a 'date-time'", name, s, s)
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
