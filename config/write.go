package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// WriteSample writes a configuration file that holds every option of v (a
// struct or a pointer to one) commented out, with its help, type and default.
func WriteSample(w io.Writer, v any) error {
	groups, err := describe(v)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for i, g := range groups {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "[%s]\n", g.name)
		for _, o := range g.options {
			b.WriteByte('\n')
			for _, line := range wrap(o.help, 76) {
				fmt.Fprintf(b, "# %s\n", line)
			}
			fmt.Fprintf(b, "# (%s)\n", strings.TrimPrefix(o.expected(), "want "))
			def := strings.ReplaceAll(o.def, "\n", "\n#"+o.name+" = ")
			fmt.Fprintf(b, "#%s\n", strings.TrimRight(o.name+" = "+def, " "))
		}
	}
	return b.Flush()
}

// WriteReference writes the options of v as Markdown, a table for each group.
func WriteReference(w io.Writer, v any) error {
	groups, err := describe(v)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	for i, g := range groups {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "## [%s]\n\n| option | type | default | meaning |\n|---|---|---|---|\n", g.name)
		for _, o := range g.options {
			def := "–"
			if o.def != "" {
				def = "`" + cell(o.def) + "`"
			}
			help := o.help
			if o.required {
				help = "Required. " + help
			}
			if o.secret {
				help += " Never printed."
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", o.name, cell(strings.TrimPrefix(o.expected(), "want ")), def, cell(help))
		}
	}
	return b.Flush()
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(strings.TrimSpace(s))
}

type group struct {
	name    string
	options []option
}

func describe(v any) ([]group, error) {
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	if r.Kind() != reflect.Struct {
		return nil, fmt.Errorf("config: want a struct, not %T", v)
	}
	opts, err := options(r)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var out []group
	at := map[string]int{}
	for _, o := range opts {
		i, ok := at[o.group]
		if !ok {
			i = len(out)
			at[o.group] = i
			out = append(out, group{name: o.group})
		}
		out[i].options = append(out[i].options, o)
	}
	return out, nil
}

// wrap breaks s at white space into lines of at most width bytes.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		if line != "" && len(line)+1+len(w) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
