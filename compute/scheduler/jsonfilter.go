package scheduler

import (
	"encoding/json"
	"fmt"
	"strings"
)

// jsonFilter is the JSON filter: the hint "query" is an expression such as
//
//	["and", [">=", "$free_ram_mb", 1024], ["=", "$host", "a"]]
//
// with the operators = < > <= >= in and or not, and variables that begin with
// a dollar sign.
type jsonFilter struct{}

func (jsonFilter) Name() string { return "JsonFilter" }

func (jsonFilter) Pass(h *Host, r *Request) (bool, string) {
	q := r.Hints["query"]
	if len(q) == 0 || q[0] == "" {
		return true, ""
	}
	ok, err := evaluate(q[0], h)
	switch {
	case err != nil:
		return false, "the query is wrong: " + err.Error()
	case !ok:
		return false, "the query does not hold"
	}
	return true, ""
}

// maxDepth bounds how deep an expression may be nested.
const maxDepth = 20

func evaluate(query string, h *Host) (bool, error) {
	var doc any
	if err := json.Unmarshal([]byte(query), &doc); err != nil {
		return false, fmt.Errorf("it is not JSON")
	}
	v, err := term(doc, h, 0)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("it is not a condition")
	}
	return b, nil
}

func term(doc any, h *Host, depth int) (any, error) {
	switch t := doc.(type) {
	case string:
		if name, is := strings.CutPrefix(t, "$"); is {
			return variable(name, h)
		}
		return t, nil
	case []any:
		return operation(t, h, depth)
	}
	return doc, nil
}

func variable(name string, h *Host) (any, error) {
	switch name {
	case "host":
		return h.Name, nil
	case "hypervisor_hostname", "nodename":
		return h.Node, nil
	case "hypervisor_type":
		return h.Inventory.Type, nil
	case "availability_zone", "zone":
		return h.Zone, nil
	case "free_ram_mb":
		return float64(h.FreeMB()), nil
	case "total_usable_ram_mb":
		return float64(h.Inventory.MemoryMB), nil
	case "free_disk_mb":
		return float64(h.FreeGB() * 1024), nil
	case "free_disk_gb":
		return float64(h.FreeGB()), nil
	case "total_usable_disk_gb":
		return float64(h.Inventory.DiskGB), nil
	case "vcpus_total":
		return float64(h.Inventory.VCPUs), nil
	case "vcpus_used":
		return float64(h.UsedVCPUs), nil
	case "num_instances":
		return float64(h.NumServers), nil
	}
	return nil, fmt.Errorf("it has the unknown variable $%s", name)
}

func operation(list []any, h *Host, depth int) (any, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("it is nested too deeply")
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("it has an empty condition")
	}
	op, ok := list[0].(string)
	if !ok {
		return nil, fmt.Errorf("an operator must be text")
	}
	args := make([]any, 0, len(list)-1)
	for _, a := range list[1:] {
		v, err := term(a, h, depth+1)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	return apply(op, args)
}

func apply(op string, args []any) (bool, error) {
	switch op {
	case "and", "or", "not":
		return logic(op, args)
	case "=", "<", ">", "<=", ">=", "in":
	default:
		return false, fmt.Errorf("it has the unknown operator %q", op)
	}
	if len(args) < 2 {
		return false, fmt.Errorf("%q needs two values", op)
	}
	if op == "in" {
		for _, a := range args[1:] {
			if c, ok := compare(args[0], a); ok && c == 0 {
				return true, nil
			}
		}
		return false, nil
	}
	for _, a := range args[1:] {
		c, ok := compare(args[0], a)
		if !ok {
			return false, nil
		}
		if !(op == "=" && c == 0 || op == "<" && c < 0 || op == ">" && c > 0 || op == "<=" && c <= 0 || op == ">=" && c >= 0) {
			return false, nil
		}
	}
	return true, nil
}

func logic(op string, args []any) (bool, error) {
	if len(args) == 0 {
		return false, fmt.Errorf("%q needs a condition", op)
	}
	all, any := true, false
	for _, a := range args {
		b, ok := a.(bool)
		if !ok {
			return false, fmt.Errorf("%q needs conditions", op)
		}
		all, any = all && b, any || b
	}
	switch op {
	case "and":
		return all, nil
	case "or":
		return any, nil
	}
	return !any, nil
}

// compare orders two numbers or two texts.
func compare(a, b any) (int, bool) {
	switch x := a.(type) {
	case float64:
		if y, ok := b.(float64); ok {
			switch {
			case x < y:
				return -1, true
			case x > y:
				return 1, true
			}
			return 0, true
		}
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), true
		}
	}
	return 0, false
}
