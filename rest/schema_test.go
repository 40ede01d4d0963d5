package rest

import (
	"testing"
	"testing/fstest"
)

func TestSchemaMessages(t *testing.T) {
	s, err := loadSchemas(fstest.MapFS{"s.json": {Data: []byte(`{"type": "object", "required": ["name"], "additionalProperties": false, "properties": {
		"name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]*$"},
		"id": {"type": "string", "format": "uuid"},
		"ip": {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
		"size": {"oneOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
		"mode": {"enum": ["a", "b"]},
		"list": {"type": "array", "uniqueItems": true, "items": {"anyOf": [{"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}}, {"type": "string"}]}},
		"data": {"type": ["string", "null"], "format": "base64"},
		"keys": {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}},
		"both": {"oneOf": [{"type": "string"}, {"maxLength": 3}]},
		"never": {"not": {}}
	}}`)}})
	if err != nil {
		t.Fatal(err)
	}
	at := "Invalid input for field/attribute "
	for body, want := range map[string]string{
		`{}`:                             "Invalid request: missing property 'name'.",
		`[]`:                             "Invalid request: got array, want object.",
		`{"name":"aaaaaa"}`:              at + "name: maxLength: got 6, want 5.",
		`{"name":"A"}`:                   at + `name: "A" does not match the pattern ^[a-z]*$.`,
		`{"name":"a","x":1}`:             "Invalid request: additional properties 'x' not allowed.",
		`{"name":"a","id":"zz"}`:         at + `id: "zz" is not a valid uuid.`,
		`{"name":"a","ip":"zz"}`:         at + `ip: "zz" is not a valid ipv4, or "zz" is not a valid ipv6.`,
		`{"name":"a","ip":1}`:            at + `ip: got number, want string.`,
		`{"name":"a","size":"x"}`:        at + `size: got string, want integer or null.`,
		`{"name":"a","size":0}`:          at + `size: minimum: got 0, want 1.`,
		`{"name":"a","mode":"c"}`:        at + `mode: value must be one of 'a', 'b'.`,
		`{"name":"a","list":[{"x":""}]}`: at + `list/0/x: got string, want integer.`,
		`{"name":"a","list":[1]}`:        at + `list/0: got number, want object or string.`,
		`{"name":"a","list":["a","a"]}`:  at + `list: items 0 and 1 are the same; each may stand once.`,
		`{"name":"a","keys":{"A":1}}`:    `Invalid request: "A" is not allowed as a key.`,
		`{"name":"a","both":"x"}`:        at + `both: the value fits more than one of the forms that exclude each other.`,
		`{"name":"a","never":1}`:         at + `never: this value is not allowed here.`,
		`{"name":"a","data":"abc"}`:      at + `data: "abc" is not a valid base64.`,
		`{"name":"a","data":"YW\nJj"}`:   "",
		`{"name":"a","data":null}`:       "",
		`{"name":"a"}`:                   "",
	} {
		got := ""
		if err := s.check("s", []byte(body)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
}
