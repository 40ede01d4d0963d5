package rest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

type inner struct {
	Name string            `json:"name"`
	Meta map[string]string `json:"metadata"`
}

type outer struct {
	Server *inner  `json:"server"`
	List   []inner `json:"list"`
	Plain  int
}

func TestCheckJSON(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"a":1,"b":[{"a":1},{"a":2}],"A":3}`: true,
		` [ ] `:                               true,
		`{}`:                                  true,
		`"ä\u00e9\\u0000"`:                    true,
		`{"a":1,"a":2}`:                       false,
		`{"a":1,"\u0061":2}`:                  false,
		`[{"x":{"b":1,"c":true,"b":null}}]`:   false,
		`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"9":1}`: false,
		`"\u0000"`:                    false,
		"\"\xff\"":                    false,
		`1e999999999`:                 false,
		`-1.5e-30`:                    true,
		`1` + strings.Repeat("0", 70): false,
		strings.Repeat("[", 64) + strings.Repeat("]", 64):     true,
		strings.Repeat("[", 5000) + strings.Repeat("]", 5000): false,
	} {
		if !json.Valid([]byte(body)) {
			t.Fatalf("%q is not JSON", body)
		}
		if err := checkJSON([]byte(body)); (err == nil) != ok {
			t.Errorf("%.80q: %v", body, err)
		}
	}
}

func TestCheckKeys(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"server":{"name":"n","metadata":{"Key":"1","key":"2"},"other":1}}`: true,
		`{"Server":{}}`:                      false,
		`{"server":{"NAME":"x"}}`:            false,
		`{"list":[{"ſ":1},{"metaData":{}}]}`: false,
		`{"Plain":1}`:                        true,
		`{"plain":1}`:                        true,
	} {
		if err := checkKeys([]byte(body), reflect.TypeFor[*outer]()); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"server":{"name":"n","list":[1,2.5e3,"\u00e4\\",true,false,null]}}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if json.Valid(b) {
			_ = checkJSON(b)
			_ = checkKeys(b, reflect.TypeFor[outer]())
		}
	})
}
