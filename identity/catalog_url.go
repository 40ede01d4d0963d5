package identity

import "strings"

// ExpandURL fills the places $(name)s and %(name)s of an endpoint's URL. It
// reports false where a place has no value or no end: such an endpoint is not
// shown.
func ExpandURL(url string, values map[string]string) (string, bool) {
	url = strings.ReplaceAll(url, "$(", "%(")
	var b strings.Builder
	for {
		before, after, found := strings.Cut(url, "%(")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		name, rest, ok := strings.Cut(after, ")s")
		v, known := values[name]
		if !ok || !known || v == "" {
			return "", false
		}
		b.WriteString(v)
		url = rest
	}
}
