package mapping

import (
	"strings"
	"testing"
)

// TestMalformedRules: what is wrong with rules is told in terms of the
// document, not of the types that it is read into.
func TestMalformedRules(t *testing.T) {
	for doc, want := range map[string]string{
		`[{"local":[{}],"remote":[{"type":"x","not_any_of":1.5}]}]`: "cannot be a JSON number",
		`[{"local":[["x"]],"remote":[{"type":"x"}]}]`:               "local cannot be a JSON array",
		`"x"`: "a list of objects is needed",
		`[1]`: "a list of objects is needed",
	} {
		_, err := Parse([]byte(doc))
		if err == nil {
			t.Errorf("%s: accepted", doc)
			continue
		}
		got := err.Error()
		if !strings.Contains(got, want) || strings.Contains(got, "Go ") || strings.Contains(got, "json:") {
			t.Errorf("%s: %s", doc, got)
		}
	}
}
