package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

// maxFile bounds a policy file.
const maxFile = 4 << 20

// override is a rule of the operator's file.
type override struct {
	name  string
	check check
	where string // file and line
}

func (e *Enforcer) load() ([]override, error) {
	var out []override
	if e.opts.File != "" {
		data, err := readFile(e.opts.File)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		if out, err = parseFile(e.opts.File, data); err != nil {
			return nil, err
		}
	}
	more, err := parseFile("policy data", e.opts.Data)
	return append(out, more...), err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return data, err
}

// parseFile reads a YAML or JSON mapping from rule name to check.
func parseFile(name string, data []byte) ([]override, error) {
	if strings.HasPrefix(strings.TrimSpace(string(data)), "{") && json.Valid(data) {
		return parseJSON(name, data)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("policy: %s: %w", name, err)
	}
	var doc yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil // nothing, or comments only
	case err != nil:
		return nil, fmt.Errorf("policy: %s: %w", name, err)
	}
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("policy: %s:%d: want a mapping from rule names to checks", name, root.Line)
	}
	var out []override
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		var value any
		if err := v.Decode(&value); err != nil {
			return nil, fmt.Errorf("policy: %s:%d: rule %q: %w", name, v.Line, k.Value, err)
		}
		c, err := parseAny(value)
		if err != nil {
			return nil, fmt.Errorf("policy: %s:%d: rule %q: %w", name, v.Line, k.Value, err)
		}
		out = append(out, override{k.Value, c, fmt.Sprintf("%s:%d", name, k.Line)})
	}
	return out, nil
}

func parseJSON(name string, data []byte) ([]override, error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("policy: %s: %w", name, err)
	}
	var out []override
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("policy: %s: %w", name, err)
		}
		key, _ := k.(string)
		line := 1 + strings.Count(string(data[:dec.InputOffset()]), "\n")
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("policy: %s:%d: rule %q: %w", name, line, key, err)
		}
		c, err := parseAny(value)
		if err != nil {
			return nil, fmt.Errorf("policy: %s:%d: rule %q: %w", name, line, key, err)
		}
		out = append(out, override{key, c, fmt.Sprintf("%s:%d", name, line)})
	}
	return out, nil
}
