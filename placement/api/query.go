package api

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/candidate"
	"github.com/tropocloud/tropo/rest"
)

// The versions that changed the query syntax.
var (
	v1_14 = rest.V("1.14") // trees
	v1_22 = rest.V("1.22") // !TRAIT
	v1_24 = rest.V("1.24") // member_of repeated
	v1_25 = rest.V("1.25") // groups with a number
	v1_32 = rest.V("1.32") // member_of=!…
	v1_33 = rest.V("1.33") // groups with a name
	v1_36 = rest.V("1.36") // groups without resources
	v1_39 = rest.V("1.39") // required=in:…
)

func badValue(format string, args ...any) error {
	return fault.Invalidf(format, args...).WithType(placement.CodeBadParameter)
}

// isUUID accepts the forms that OpenStack's services do: with and without
// dashes, in upper and lower case.
func isUUID(s string) bool {
	return (len(s) == 36 || len(s) == 32) && uuid.Validate(s) == nil
}

// parseResources reads "VCPU:2,MEMORY_MB:1024".
func parseResources(v string) ([]candidate.Amount, error) {
	got := v
	if got == "" {
		got = "empty string"
	}
	var out []candidate.Amount
	for part := range strings.SplitSeq(v, ",") {
		class, amount, ok := strings.Cut(part, ":")
		if !ok || class == "" {
			return nil, badValue("Badly formed resources parameter. Expected resources query string parameter in form: ?resources=VCPU:2,MEMORY_MB:1024. Got: %s.", got)
		}
		n, err := strconv.Atoi(amount)
		if err != nil {
			return nil, badValue("Requested resource %s expected positive integer amount. Got: %s.", class, amount)
		}
		if n < 1 {
			return nil, badValue("Requested resource %s requires amount >= 1. Got: %d.", class, n)
		}
		if i := slices.IndexFunc(out, func(a candidate.Amount) bool { return a.Class == class }); i >= 0 {
			out[i].Amount = n
			continue
		}
		out = append(out, candidate.Amount{Class: class, Amount: n})
	}
	return out, nil
}

// parseTraits reads the values of a required parameter: "A,!B", and from 1.39
// also "in:A,B" and several of them.
func parseTraits(name string, values []string, v rest.Version) (candidate.Traits, error) {
	var t candidate.Traits
	if len(values) > 1 && v.Less(v1_39) {
		values = values[len(values)-1:]
	}
	for _, value := range values {
		list, any := strings.CutPrefix(value, "in:")
		if any && v.Less(v1_39) {
			return t, badValue("The format '%s' in '%s' is only supported since microversion 1.39.", value, name)
		}
		var one []string
		for trait := range strings.SplitSeq(list, ",") {
			bare, forbidden := strings.CutPrefix(trait, "!")
			if !placement.ValidName(bare) || forbidden && (any || v.Less(v1_22)) {
				hint := ""
				if any {
					hint = " Forbidden traits are not supported in the 'in:' syntax."
				} else if v.AtLeast(v1_22) {
					hint = ", where each trait may be prefixed with '!'"
				}
				return t, badValue("Invalid query string parameters: Expected '%s' parameter value of the form: HW_CPU_X86_VMX,CUSTOM_MAGIC%s. Got: %s", name, hint, value)
			}
			switch {
			case forbidden:
				t.Forbidden = append(t.Forbidden, bare)
			case any:
				one = append(one, bare)
			default:
				t.Required = append(t.Required, []string{bare})
			}
		}
		if any {
			t.Required = append(t.Required, one)
		}
	}
	for _, r := range t.Required {
		if len(r) == 1 && slices.Contains(t.Forbidden, r[0]) {
			return t, badValue("Conflicting required and forbidden traits found in the following traits keys: %s: (%s)", name, r[0])
		}
	}
	return t, nil
}

// parseMemberOf reads the values of a member_of parameter.
func parseMemberOf(name string, values []string, v rest.Version) (candidate.Aggregates, error) {
	var a candidate.Aggregates
	if len(values) > 1 && v.Less(v1_24) {
		return a, fault.Invalidf("Multiple %s parameters are not supported before version 1.24.", name).WithType(placement.CodeDuplicateParameter)
	}
	for _, value := range values {
		list, forbidden := strings.CutPrefix(value, "!")
		if forbidden && v.Less(v1_32) {
			return a, badValue("Forbidden member_of parameters are not supported in the specified microversion")
		}
		rest, many := strings.CutPrefix(list, "in:")
		uuids := strings.Split(rest, ",")
		if !many && len(uuids) > 1 {
			return a, badValue("Multiple values for '%s' must be prefixed with the 'in:' or '!in:' keyword using the valid microversion. Got: %s", name, value)
		}
		for _, u := range uuids {
			if !isUUID(u) {
				return a, badValue("Invalid query string parameters: Expected '%s' parameter to contain valid UUID(s). Got: %s", name, u)
			}
		}
		if forbidden {
			a.Forbidden = append(a.Forbidden, uuids...)
		} else {
			a.MemberOf = append(a.MemberOf, uuids)
		}
	}
	return a, nil
}

// only refuses parameters that the version does not know.
func only(q url.Values, v rest.Version, since map[string]string) error {
	for name := range q {
		s, ok := since[name]
		if !ok || v.Less(rest.V(s)) {
			return fault.Invalidf("Invalid query string parameters: Additional properties are not allowed ('%s' was unexpected)", name)
		}
	}
	return nil
}

// trimmed takes the white space off the values, which OpenStack's services pass
// over.
func trimmed(q url.Values) url.Values {
	out := make(url.Values, len(q))
	for name, values := range q {
		for _, v := range values {
			out[name] = append(out[name], strings.TrimSpace(v))
		}
	}
	return out
}

// single returns a parameter that has one value: the last, where the client
// gives several.
func single(q url.Values, name string) string {
	v := q[name]
	if len(v) == 0 {
		return ""
	}
	return v[len(v)-1]
}

// providerFilter reads the query of GET /resource_providers.
func providerFilter(r *rest.Request) (candidate.Filter, error) {
	var f candidate.Filter
	q, v := trimmed(r.Query()), r.Version()
	err := only(q, v, map[string]string{"name": "1.0", "uuid": "1.0", "member_of": "1.3", "resources": "1.4", "in_tree": "1.14", "required": "1.18"})
	if err != nil {
		return f, err
	}
	f.Name, f.UUID, f.InTree = single(q, "name"), single(q, "uuid"), single(q, "in_tree")
	for _, name := range []string{"uuid", "in_tree"} {
		if q.Has(name) && !isUUID(single(q, name)) {
			return f, fault.Invalidf("Invalid query string parameters: Failed validating 'format': '%s' is not a 'uuid'", single(q, name))
		}
	}
	if q.Has("resources") {
		if f.Resources, err = parseResources(single(q, "resources")); err != nil {
			return f, err
		}
	}
	if f.Traits, err = parseTraits("required", q["required"], v); err != nil {
		return f, err
	}
	f.Aggregates, err = parseMemberOf("member_of", q["member_of"], v)
	return f, err
}

var (
	groupKey    = regexp.MustCompile(`^(resources|required|member_of|in_tree)([a-zA-Z0-9_-]{1,64})?$`)
	numberedKey = regexp.MustCompile(`^(resources|required|member_of|in_tree)([1-9][0-9]*)?$`)
)

// candidateRequest reads the query of GET /allocation_candidates.
func candidateRequest(r *rest.Request) (*candidate.Request, error) {
	q, v := trimmed(r.Query()), r.Version()
	req := &candidate.Request{Flat: v.Less(rest.V("1.29"))}
	groups, err := requestGroups(q, v)
	if err != nil {
		return nil, err
	}
	if err := wholeRequest(q, v, req); err != nil {
		return nil, err
	}
	if err := checkGroups(q, v, groups, req); err != nil {
		return nil, err
	}
	suffixes := make([]string, 0, len(groups))
	for s := range groups {
		suffixes = append(suffixes, s)
	}
	slices.Sort(suffixes) // the one without comes first
	for _, s := range suffixes {
		req.Groups = append(req.Groups, *groups[s])
	}
	return req, nil
}

// requestGroups reads the parameters that belong to groups.
func requestGroups(q url.Values, v rest.Version) (map[string]*candidate.Group, error) {
	since := map[string]string{"resources": "1.10", "limit": "1.16", "required": "1.17", "member_of": "1.21", "group_policy": "1.25", "in_tree": "1.31", "root_required": "1.35", "same_subtree": "1.36"}
	groups := map[string]*candidate.Group{}
	plain := url.Values{}
	for name, values := range q {
		key := groupKey
		if v.Less(v1_33) {
			key = numberedKey
		}
		m := key.FindStringSubmatch(name)
		if m == nil || m[2] == "" || v.Less(v1_25) || v.Less(rest.V(since[m[1]])) {
			plain[name] = values
		}
		if m == nil || v.Less(rest.V(since[m[1]])) {
			continue
		}
		g := groups[m[2]]
		if g == nil {
			g = &candidate.Group{Suffix: m[2]}
			groups[m[2]] = g
		}
		if err := groupParameter(g, m[1], name, values, v); err != nil {
			return nil, err
		}
	}
	return groups, only(plain, v, since)
}

func groupParameter(g *candidate.Group, kind, name string, values []string, v rest.Version) (err error) {
	if len(values) > 1 && (kind == "resources" || kind == "in_tree") {
		return fault.Invalidf("Query parameter '%s' may be specified only once.", name).WithType(placement.CodeDuplicateParameter)
	}
	switch kind {
	case "resources":
		g.Resources, err = parseResources(values[0])
	case "required":
		g.Traits, err = parseTraits(name, values, v)
	case "member_of":
		g.Aggregates, err = parseMemberOf(name, values, v)
	case "in_tree":
		if g.InTree = values[0]; !isUUID(g.InTree) {
			err = badValue("Invalid query string parameters: Expected '%s' parameter to be a format of uuid. Got: %s", name, values[0])
		}
	}
	return err
}

// wholeRequest reads the parameters that concern the whole request.
func wholeRequest(q url.Values, v rest.Version, req *candidate.Request) error {
	if len(q["root_required"]) > 1 {
		return fault.Invalidf("Query parameter 'root_required' may be specified only once.").WithType(placement.CodeDuplicateParameter)
	}
	if q.Has("limit") {
		n, err := strconv.Atoi(q.Get("limit"))
		if err != nil || n < 1 {
			return fault.Invalidf("Invalid query string parameters: limit %q does not match '^[1-9][0-9]*$'", q.Get("limit"))
		}
		req.Limit = n
	}
	switch q.Get("group_policy") {
	case "isolate":
		req.Isolate = true
	case "none":
	default:
		if q.Has("group_policy") {
			return fault.Invalidf("Invalid query string parameters: group_policy '%s' is not one of ['none', 'isolate']", q.Get("group_policy"))
		}
	}
	if q.Has("root_required") {
		if strings.HasPrefix(q.Get("root_required"), "in:") {
			return badValue("The format 'in:' is not supported in 'root_required'.")
		}
		t, err := parseTraits("root_required", q["root_required"], v)
		if err != nil {
			return err
		}
		req.Root = t
	}
	for _, list := range q["same_subtree"] {
		suffixes := strings.Split(list, ",")
		if slices.Contains(suffixes, "") {
			return badValue("Empty string (unsuffixed group) can not be specified in `same_subtree` queryparam.")
		}
		req.SameSubtree = append(req.SameSubtree, suffixes)
	}
	return nil
}

// checkGroups refuses groups that make no sense together.
func checkGroups(q url.Values, v rest.Version, groups map[string]*candidate.Group, req *candidate.Request) error {
	for _, list := range req.SameSubtree {
		for _, s := range list {
			if groups[s] == nil {
				return badValue("Real suffixes should be specified in `same_subtree`: %s is not a group of this request.", s)
			}
		}
	}
	resources, granular := 0, 0
	for s, g := range groups {
		if len(g.Resources) > 0 {
			resources++
			if s != "" {
				granular++
			}
			continue
		}
		inSubtree := slices.ContainsFunc(req.SameSubtree, func(list []string) bool { return slices.Contains(list, s) })
		if s == "" || v.Less(v1_36) || !inSubtree {
			return badValue("All traits, aggregates and trees must be associated with resources. Found the following orphaned parameters with suffix '%s'.", s)
		}
		granular++
	}
	if resources == 0 {
		return fault.Invalidf("Invalid query string parameters: at least one request group (`resources` or `resources{$S}`) is required.")
	}
	if granular > 1 && !q.Has("group_policy") {
		return fault.Invalidf("The \"group_policy\" parameter is required when specifying more than one \"resources{$S}\" parameter.").WithType(placement.CodeMissingParameter)
	}
	return nil
}
