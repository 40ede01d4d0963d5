package api

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestCut: messages show a refused value as the request had it, and never more
// than a little of it.
func TestCut(t *testing.T) {
	var v any
	if err := decode(json.RawMessage(`[1,"a<b",null,{"x":{}}]`), &v); err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		cut(v):                       `[1,"a<b",null,{"x":{}}]`,
		cut(nil):                     "null",
		cut("plain"):                 "plain",
		cut(map[string]any{}):        "{}",
		cut(json.Number("18446744")): "18446744",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := cut(strings.Repeat("a☃", 100)); !utf8.ValidString(got) || len(got) > 110 {
		t.Errorf("shortened to %q", got)
	}
}
