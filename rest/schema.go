package rest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/tropocloud/tropo/fault"
)

// schemas are a service's request schemas by name. Each is compiled when it is
// first needed: a service has hundreds, and of most a process sees no request.
type schemas struct {
	byName map[string]func() (*jsonschema.Schema, error)
}

func loadSchemas(fsys fs.FS) (*schemas, error) {
	s := &schemas{byName: map[string]func() (*jsonschema.Schema, error){}}
	if fsys == nil {
		return s, nil
	}
	files, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: "base64", Validate: isBase64})
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
	var mu sync.Mutex // the compiler is for one at a time
	for _, f := range files {
		s.byName[strings.TrimSuffix(f, ".json")] = sync.OnceValues(func() (*jsonschema.Schema, error) {
			mu.Lock()
			defer mu.Unlock()
			compiled, err := c.Compile(f)
			if err != nil {
				return nil, fmt.Errorf("schema %s: %w", f, err)
			}
			return compiled, nil
		})
	}
	return s, nil
}

// CompileSchemas compiles every request schema, for tests: a service does so
// when a request needs one.
func (a *API) CompileSchemas() error {
	var errs []error
	for _, compile := range a.schemas.byName {
		_, err := compile()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// isBase64 checks the format that OpenStack's schemas call base64: characters
// outside of the alphabet, as line ends, are passed over, padding is needed.
func isBase64(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '=' {
			return r
		}
		return -1
	}, s)
	if _, err := base64.StdEncoding.DecodeString(kept); err != nil {
		return errors.New("it is not in base64")
	}
	return nil
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
	return s.validate(name, doc)
}

func (s *schemas) checkQuery(name string, q url.Values) error {
	return s.validate(name, queryDocument(q))
}

func (s *schemas) validate(name string, doc any) error {
	schema, err := s.byName[name]()
	if err != nil {
		return err
	}
	return explain(schema.Validate(doc))
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
		if p, ok := ve.ErrorKind.(*kind.PropertyNames); ok {
			return fault.Invalidf("Invalid request: %s.", reason(p)) // its location is not to be relied on
		}
		if wants := alternatives(ve); wants != "" {
			return located(ve, wants)
		}
		deepest := ve.Causes[0]
		for _, c := range ve.Causes {
			if depth(c) > depth(deepest) {
				deepest = c
			}
		}
		ve = deepest
	}
	return located(ve, reason(ve.ErrorKind))
}

func located(ve *jsonschema.ValidationError, why string) error {
	at := shorten(strings.Join(ve.InstanceLocation, "/"))
	if at == "" {
		return fault.Invalidf("Invalid request: %s.", why)
	}
	return fault.Invalidf("Invalid input for field/attribute %s: %s.", at, why)
}

// depth is the length of the longest location among a cause's own causes.
func depth(ve *jsonschema.ValidationError) int {
	n := len(ve.InstanceLocation)
	for _, c := range ve.Causes {
		n = max(n, depth(c))
	}
	return n
}

// alternatives says for an anyOf or oneOf of which no branch fits the value
// itself what each of them wants, and nothing where a branch got further.
func alternatives(ve *jsonschema.ValidationError) string {
	switch ve.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
	default:
		return ""
	}
	var whys, types []string
	got := ""
	for _, c := range ve.Causes {
		for len(c.Causes) == 1 {
			c = c.Causes[0]
		}
		if depth(c) > len(ve.InstanceLocation) || len(c.Causes) > 1 {
			return ""
		}
		if t, ok := c.ErrorKind.(*kind.Type); ok {
			got, types = t.Got, append(types, t.Want...)
			continue
		}
		if why := reason(c.ErrorKind); !slices.Contains(whys, why) {
			whys = append(whys, why)
		}
	}
	if len(whys) == 0 && len(types) > 0 {
		slices.Sort(types)
		return "got " + got + ", want " + strings.Join(slices.Compact(types), " or ")
	}
	return strings.Join(whys, ", or ")
}

// reason is what a user can do about one failed keyword.
func reason(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Pattern:
		return fmt.Sprintf("%q does not match the pattern %s", shorten(k.Got), k.Want)
	case *kind.Format:
		return fmt.Sprintf("%q is not a valid %s", shorten(fmt.Sprint(k.Got)), k.Want)
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			return "the value fits more than one of the forms that exclude each other"
		}
		return "the value fits none of the allowed forms"
	case *kind.AnyOf:
		return "the value fits none of the allowed forms"
	case *kind.Not, *kind.FalseSchema:
		return "this value is not allowed here"
	case *kind.UniqueItems:
		return fmt.Sprintf("items %d and %d are the same; each may stand once", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return "a required item is missing"
	case *kind.PropertyNames:
		return fmt.Sprintf("%q is not allowed as a key", shorten(k.Property))
	}
	return k.LocalizedString(message.NewPrinter(language.English))
}
