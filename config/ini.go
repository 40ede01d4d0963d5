package config

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a configuration file.
const maxFile = 8 << 20

// entry is one assignment of an INI file.
type entry struct {
	group, key, value string
	line              int
}

func readINI(name string) ([]entry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	return parseINI(name, io.LimitReader(f, maxFile))
}

// parseINI reads oslo.config's dialect: [group]; key = value or key: value;
// # and ; begin comments at the start of a line; an indented line continues
// the value above; one pair of quotes around a value is taken off.
func parseINI(name string, r io.Reader) ([]entry, error) {
	var out []entry
	group, open := DefaultGroup, false
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	n := 0
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s:%d: %s", name, n, fmt.Sprintf(format, args...))
	}
	for sc.Scan() {
		n++
		line := strings.TrimRight(sc.Text(), " \t\r")
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		text := strings.TrimLeft(line, " \t")
		switch {
		case text == "":
			open = false
		case text[0] == '#' || text[0] == ';':
		case len(text) < len(line):
			if !open {
				return nil, bad("an indented line continues the value above, but there is none; want it at the start of the line")
			}
			out[len(out)-1].value += "\n" + text
		case text[0] == '[':
			if text[len(text)-1] != ']' || len(text) < 3 {
				return nil, bad("want [group], not %q", text)
			}
			group, open = strings.TrimSpace(text[1:len(text)-1]), false
		default:
			i := strings.IndexAny(text, "=:")
			if i < 0 {
				return nil, bad("want option = value, not %q", text)
			}
			key := strings.TrimSpace(text[:i])
			if key == "" {
				return nil, bad("the name of the option is missing before %q", text[i:i+1])
			}
			out = append(out, entry{group, key, strings.TrimSpace(text[i+1:]), n})
			open = true
		}
	}
	if err := sc.Err(); err != nil {
		n++
		return nil, bad("%v", err)
	}
	for i := range out {
		out[i].value = unquote(out[i].value)
	}
	return out, nil
}

func unquote(s string) string {
	if n := len(s); n > 1 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') {
		return s[1 : n-1]
	}
	return s
}
