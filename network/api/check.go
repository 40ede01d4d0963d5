package api

import (
	"encoding/json"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tropocloud/tropo/network"
)

func sortedStrings(list []string) []string {
	slices.Sort(list)
	return list
}

// str is a string of at most n characters.
func str(n int) check {
	return func(v any) (any, string) {
		s, ok := v.(string)
		switch {
		case !ok:
			return nil, "'" + cut(v) + "' is not a valid string."
		case utf8.RuneCountInString(s) > n:
			return nil, "'" + cut(s) + "' exceeds maximum length of " + strconv.Itoa(n) + "."
		case strings.ContainsRune(s, 0):
			return nil, "the value has a NUL character."
		}
		return s, ""
	}
}

// orNull also takes null.
func orNull(c check) check {
	return func(v any) (any, string) {
		if v == nil {
			return nil, ""
		}
		return c(v)
	}
}

// nullAs takes null for a value.
func nullAs(c check, value any) check {
	return func(v any) (any, string) {
		if v == nil {
			return value, ""
		}
		return c(v)
	}
}

// boolean takes the words that OpenStack does.
func boolean(v any) (any, string) {
	switch x := v.(type) {
	case bool:
		return x, ""
	case string:
		switch strings.ToLower(x) {
		case "true", "1":
			return true, ""
		case "false", "0":
			return false, ""
		}
	case json.Number:
		switch x {
		case "1":
			return true, ""
		case "0":
			return false, ""
		}
	}
	return nil, "'" + cut(v) + "' cannot be converted to boolean."
}

// integer is a number within bounds, or its text.
func integer(least, most int) check {
	return func(v any) (any, string) {
		n, err := strconv.Atoi(cut(v))
		if _, isBool := v.(bool); err != nil || isBool {
			return nil, "'" + cut(v) + "' is not an integer."
		}
		if n < least {
			return nil, "'" + cut(v) + "' is too small - must be at least '" + strconv.Itoa(least) + "'."
		}
		if n > most {
			return nil, "'" + cut(v) + "' is too large - must be no larger than '" + strconv.Itoa(most) + "'."
		}
		return n, ""
	}
}

// id is the id of a resource; whether that exists shows later.
func id(v any) (any, string) {
	s, ok := v.(string)
	if !ok || s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return nil, "'" + cut(v) + "' is not a valid UUID."
	}
	return s, ""
}

func uuidForm(v any) (any, string) {
	s, ok := v.(string)
	if !ok || !isUUID(s) {
		return nil, "'" + cut(v) + "' is not a valid UUID."
	}
	return s, ""
}

func isUUID(s string) bool {
	h := strings.ReplaceAll(s, "-", "")
	return len(h) == 32 && strings.Trim(strings.ToLower(h), "0123456789abcdef") == ""
}

func oneOf(words ...string) check {
	return func(v any) (any, string) {
		s, ok := v.(string)
		if ok && slices.Contains(words, s) {
			return s, ""
		}
		return nil, "'" + cut(v) + "' is not in [" + strings.Join(words, ", ") + "]."
	}
}

func ip(v any) (any, string) {
	s, ok := v.(string)
	a, err := netip.ParseAddr(s)
	if !ok || err != nil || a.Zone() != "" {
		return nil, "'" + cut(v) + "' is not a valid IP address."
	}
	return a.String(), ""
}

func cidr(v any) (any, string) {
	s, ok := v.(string)
	if !ok || !strings.Contains(s, "/") {
		return nil, "'" + cut(v) + "' is not a valid IP subnet."
	}
	if _, err := netip.ParsePrefix(s); err != nil {
		return nil, "'" + cut(v) + "' is not a valid IP subnet."
	}
	return s, ""
}

// prefix is a CIDR or an address.
func prefix(v any) (any, string) {
	s, ok := v.(string)
	if _, err := network.ParsePrefix(s); !ok || err != nil {
		return nil, "'" + cut(v) + "' is neither a valid IP address, nor is it a valid IP subnet."
	}
	return s, ""
}

func mac(v any) (any, string) {
	s, ok := v.(string)
	hw, err := net.ParseMAC(s)
	if !ok || err != nil || len(hw) != 6 {
		return nil, "'" + cut(v) + "' is not a valid MAC address."
	}
	zero := true
	for _, b := range hw {
		zero = zero && b == 0
	}
	if zero || hw[0]&1 == 1 {
		return nil, "'" + cut(v) + "' is not a valid MAC address: it must be a unicast address."
	}
	return hw.String(), ""
}

// list is at most n values.
func list(n int, c check) check {
	return func(v any) (any, string) {
		in, ok := v.([]any)
		if !ok {
			return nil, "'" + cut(v) + "' is not a list."
		}
		if len(in) > n {
			return nil, "the list has more than " + strconv.Itoa(n) + " items."
		}
		out := make([]any, len(in))
		for i := range in {
			x, reason := c(in[i])
			if reason != "" {
				return nil, reason
			}
			out[i] = x
		}
		return out, ""
	}
}

// object is a JSON object with these members; needed ones are marked with a
// "!" before the name.
func object(members map[string]check) check {
	return func(v any) (any, string) {
		in, ok := v.(map[string]any)
		if !ok {
			return nil, "'" + cut(v) + "' is not a dictionary."
		}
		out := map[string]any{}
		for key, c := range members {
			name, needed := strings.CutPrefix(key, "!")
			x, given := in[name]
			if !given {
				if needed {
					return nil, "Expected keys not found: '" + name + "'."
				}
				continue
			}
			n, reason := c(x)
			if reason != "" {
				return nil, reason
			}
			out[name] = n
		}
		for name := range in {
			if members[name] == nil && members["!"+name] == nil {
				return nil, "Unexpected key '" + cut(name) + "'."
			}
		}
		return out, ""
	}
}

// dict is any JSON object that is not too large.
func dict(v any) (any, string) {
	if v == nil {
		return map[string]any{}, ""
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, "'" + cut(v) + "' is not a dictionary."
	}
	if b, err := json.Marshal(m); err != nil || len(b) > 4095 {
		return nil, "the dictionary is larger than 4095 bytes."
	}
	return m, ""
}

func route() check {
	return object(map[string]check{"!destination": cidr, "!nexthop": ip})
}

func fixedIPs(v any) (any, string) {
	if v == nil {
		return []any{}, ""
	}
	x, reason := list(64, object(map[string]check{"subnet_id": id, "ip_address": ip}))(v)
	if reason != "" {
		return nil, reason
	}
	items, _ := x.([]any)
	for _, i := range items {
		if m, _ := i.(map[string]any); len(m) == 0 {
			return nil, "a fixed IP needs a subnet_id or an ip_address."
		}
	}
	return x, ""
}

func pairs(v any) (any, string) {
	if v == nil {
		return []any{}, ""
	}
	return list(1000, object(map[string]check{"mac_address": orNull(mac), "!ip_address": prefix}))(v)
}

// dhcpName and dhcpValue keep anything out that could end a line or a quote
// in some DHCP server's configuration (CVE-2021-40085).
var (
	dhcpName  = regexp.MustCompile(`^[A-Za-z0-9:_-]{1,64}$`)
	dhcpValue = regexp.MustCompile(`^[^\x00-\x1f\x7f"'\\{}]{1,255}$`)
)

func dhcpOpts(v any) (any, string) {
	if v == nil {
		return []any{}, ""
	}
	in, ok := v.([]any)
	if !ok || len(in) > 64 {
		return nil, "'" + cut(v) + "' is not a list of at most 64 options."
	}
	out := []any{}
	for _, x := range in {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, "'" + cut(x) + "' is not a dictionary."
		}
		o, reason := dhcpOpt(m)
		if reason != "" {
			return nil, reason
		}
		out = append(out, o)
	}
	return out, ""
}

func dhcpOpt(m map[string]any) (map[string]any, string) {
	name, _ := m["opt_name"].(string)
	if !dhcpName.MatchString(name) {
		return nil, "'" + cut(m["opt_name"]) + "' is not a valid opt_name."
	}
	version := any(4)
	if x, given := m["ip_version"]; given {
		n, reason := integer(4, 6)(x)
		if reason != "" || n == 5 {
			return nil, "'" + cut(x) + "' is not a valid ip_version."
		}
		version = n
	}
	o := map[string]any{"opt_name": name, "ip_version": version, "opt_value": nil}
	if m["opt_value"] != nil {
		value, ok := m["opt_value"].(string)
		if !ok || !dhcpValue.MatchString(value) {
			return nil, "'" + cut(m["opt_value"]) + "' is not a valid opt_value: it must be a line of at most 255 characters without quotes."
		}
		o["opt_value"] = value
	}
	for k := range m {
		if k != "opt_name" && k != "opt_value" && k != "ip_version" {
			return nil, "Unexpected key '" + cut(k) + "'."
		}
	}
	return o, ""
}

// tag is one tag; a comma would split it in filters.
func tag(v any) (any, string) {
	s, reason := str(255)(v)
	if reason != "" {
		return nil, reason
	}
	if s == "" || strings.Contains(cut(s), ",") {
		return nil, "'" + cut(v) + "' is not a valid tag."
	}
	return s, ""
}

func tags(v any) (any, string) {
	if v == nil {
		return []any{}, ""
	}
	return list(50, tag)(v)
}

// protocol is a protocol's name or number, as text.
func protocol(v any) (any, string) {
	switch x := v.(type) {
	case nil:
		return nil, ""
	case string:
		return strings.ToLower(x), ""
	case json.Number:
		return x.String(), ""
	}
	return nil, "'" + cut(v) + "' is not a valid protocol."
}

var dnsLabel = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// dnsName is a host name, with or without domain; empty for none.
func dnsName(v any) (any, string) {
	s, reason := nullAs(str(255), "")(v)
	text, _ := s.(string)
	if reason != "" || text == "" {
		return s, reason
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if !dnsLabel.MatchString(label) {
			return nil, "'" + cut(v) + "' not a valid PQDN or FQDN."
		}
	}
	return text, ""
}

// dnsDomain is a domain that ends in a dot; empty for none.
func dnsDomain(v any) (any, string) {
	s, reason := dnsName(v)
	if text, _ := s.(string); reason == "" && text != "" && !strings.HasSuffix(text, ".") {
		return nil, "'" + cut(v) + "' is not a FQDN."
	}
	return s, reason
}

// gateway is external_gateway_info; {} and null take it away.
func gateway(v any) (any, string) {
	if m, ok := v.(map[string]any); v == nil || ok && len(m) == 0 {
		return nil, ""
	}
	return object(map[string]check{"!network_id": id, "enable_snat": boolean, "external_fixed_ips": fixedIPs})(v)
}
