package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/tropocloud/tropo/fault"
)

// schemas are a service's compiled request schemas by name.
type schemas struct {
	byName map[string]*jsonschema.Schema
}

func loadSchemas(fsys fs.FS) (*schemas, error) {
	s := &schemas{byName: map[string]*jsonschema.Schema{}}
	if fsys == nil {
		return s, nil
	}
	files, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, f := range files {
		b, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", f, err)
		}
		if err := c.AddResource(f, doc); err != nil {
			return nil, fmt.Errorf("schema %s: %w", f, err)
		}
	}
	for _, f := range files {
		compiled, err := c.Compile(f)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", f, err)
		}
		s.byName[strings.TrimSuffix(f, ".json")] = compiled
	}
	return s, nil
}

func (s *schemas) has(name string) bool { return s.byName[name] != nil }

func (s *schemas) check(name string, body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return fault.Invalidf("The request needs a JSON body.")
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fault.Invalidf("Malformed request body: the body is not valid JSON.")
	}
	return explain(s.byName[name].Validate(doc))
}

func (s *schemas) checkQuery(name string, q url.Values) error {
	return explain(s.byName[name].Validate(queryDocument(q)))
}

// explain turns the deepest cause into one sentence for the user.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		return fault.Wrap(fault.Invalid, err, "The request body does not fit its schema.")
	}
	for len(ve.Causes) > 0 {
		deepest := ve.Causes[0]
		for _, c := range ve.Causes {
			if len(c.InstanceLocation) > len(deepest.InstanceLocation) {
				deepest = c
			}
		}
		ve = deepest
	}
	why := ve.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	at := strings.Join(ve.InstanceLocation, "/")
	if at == "" {
		return fault.Invalidf("Invalid request: %s.", why)
	}
	return fault.Invalidf("Invalid input for field/attribute %s: %s.", at, why)
}
