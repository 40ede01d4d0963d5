package store

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// valueKind tells how the text of a filter becomes a column's value.
type valueKind int

const (
	valueText valueKind = iota
	valueBool
	valueNumber
	valueJSON
)

// fieldKind looks at the type of the attribute's field.
func fieldKind[T any](attribute string) valueKind {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != attribute || f.Anonymous {
			continue
		}
		t := f.Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Bool:
			return valueBool
		case reflect.Int:
			return valueNumber
		case reflect.Slice, reflect.Map:
			return valueJSON
		}
		return valueText
	}
	return valueText
}

// args converts the values; null is true when one of them is empty, which
// also asks for attributes without a value.
func (k valueKind) args(name string, values []string) (args []any, null bool, err error) {
	for _, v := range values {
		switch k {
		case valueBool:
			b, err := oneBool(name, []string{v})
			if err != nil {
				return nil, false, err
			}
			args = append(args, b)
		case valueNumber:
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return nil, false, fault.Invalidf("Invalid input for %s. Reason: '%s' is not an integer.", name, v).WithType("HTTPBadRequest")
			}
			args = append(args, n)
		default:
			null = null || v == ""
			args = append(args, v)
		}
	}
	return args, null, nil
}

func oneBool(name string, values []string) (bool, error) {
	switch strings.ToLower(values[0]) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fault.Invalidf("Invalid input for %s. Reason: '%s' cannot be converted to boolean.", name, values[0]).WithType("HTTPBadRequest")
}
