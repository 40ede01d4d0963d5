// Package directory reads the users and groups of an LDAP server, as a domain
// may be configured to take them from there ([ldap] of its configuration, with
// Keystone's options). It never writes.
//
// What comes from a caller goes into a filter or a distinguished name escaped
// (RFC 4515, RFC 4514); every list is bounded, every exchange has a time limit.
//
// Sources: RFC 4511, RFC 4513;
// https://docs.openstack.org/keystone/latest/admin/configuration.html#integrate-identity-with-ldap
package directory

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Config are the options of [ldap].
type Config struct {
	URLs          []string
	BindDN        string // empty: anonymous
	BindPassword  string
	Suffix        string
	Scope         int // ldap.ScopeSingleLevel or ldap.ScopeWholeSubtree
	PageSize      int
	Deref         int
	Timeout       time.Duration // of one exchange
	Dial          time.Duration // until a server has answered
	PoolSize      int
	Lifetime      time.Duration // of a connection in the pool
	AuthPoolSize  int
	StartTLS      bool
	TLSVerify     bool
	CACertFile    string
	CACertDir     string
	User, Group   Tree
	Enabled       Enabled
	MembersAreIDs bool
	ADNesting     bool
	MemberAttr    string
	ListLimit     int
}

// Tree says where entries of one kind stand and what their attributes are
// called; an attribute that is ignored or not there is empty.
type Tree struct {
	Base, Class, Filter                  string
	ID, Name, Mail, Description, Project string
	More                                 map[string]string // attribute → field
}

// Enabled says how an entry tells that its user is enabled.
type Enabled struct {
	Attr       string // empty: all are
	Invert     bool
	Mask       int64
	Default    string
	Emulated   bool // by membership of GroupDN
	GroupDN    string
	GroupClass string
	MemberAttr string
}

// The bounds of a list and of the waiting.
const (
	maxList        = 10000
	defaultTimeout = 5 * time.Second
	maxTimeout     = 60 * time.Second
)

// Parse reads the options of [ldap], whose values are as JSON or a file has
// them; what is missing has Keystone's default.
func Parse(o map[string]any) (*Config, error) {
	r := &reader{o: o}
	c := &Config{
		BindDN: r.text("user", ""), BindPassword: r.text("password", ""), Suffix: r.text("suffix", "cn=example,cn=com"),
		PageSize: r.number("page_size", 0), Timeout: r.seconds("connection_timeout"), Dial: r.seconds("pool_connection_timeout"),
		PoolSize: r.number("pool_size", 10), Lifetime: time.Duration(r.number("pool_connection_lifetime", 600)) * time.Second,
		AuthPoolSize: r.number("auth_pool_size", 100), StartTLS: r.flag("use_tls", false),
		CACertFile: r.text("tls_cacertfile", ""), CACertDir: r.text("tls_cacertdir", ""),
		MembersAreIDs: r.flag("group_members_are_ids", false), ADNesting: r.flag("group_ad_nesting", false),
		MemberAttr: r.text("group_member_attribute", "member"), ListLimit: maxList,
	}
	for u := range strings.SplitSeq(r.text("url", "ldap://localhost"), ",") {
		if u = strings.TrimSpace(u); u != "" {
			c.URLs = append(c.URLs, u)
		}
	}
	switch s := r.text("query_scope", "one"); s {
	case "one":
		c.Scope = ldap.ScopeSingleLevel
	case "sub":
		c.Scope = ldap.ScopeWholeSubtree
	default:
		r.fail("query_scope", s)
	}
	switch s := r.text("alias_dereferencing", "default"); s {
	case "never", "default":
		c.Deref = ldap.NeverDerefAliases
	case "searching":
		c.Deref = ldap.DerefInSearching
	case "finding":
		c.Deref = ldap.DerefFindingBaseObj
	case "always":
		c.Deref = ldap.DerefAlways
	default:
		r.fail("alias_dereferencing", s)
	}
	switch s := r.text("tls_req_cert", "demand"); s {
	case "demand":
		c.TLSVerify = true
	case "allow", "never":
	default:
		r.fail("tls_req_cert", s)
	}
	r.trees(c)
	if r.err != nil {
		return nil, r.err
	}
	return c, c.check()
}

// trees reads the options of users and groups.
func (r *reader) trees(c *Config) {
	ignored := r.list("user_attribute_ignore", []string{"default_project_id"})
	c.User = Tree{
		Base: r.text("user_tree_dn", "ou=Users,"+c.Suffix), Class: r.text("user_objectclass", "inetOrgPerson"), Filter: r.text("user_filter", ""),
		ID: r.text("user_id_attribute", "cn"), Name: r.text("user_name_attribute", "sn"),
		Mail: r.unless(ignored, "email", "user_mail_attribute", "mail"), Description: r.unless(ignored, "description", "user_description_attribute", "description"),
		Project: r.unless(ignored, "default_project_id", "user_default_project_id_attribute", ""), More: r.pairs("user_additional_attribute_mapping"),
	}
	gone := r.list("group_attribute_ignore", nil)
	c.Group = Tree{
		Base: r.text("group_tree_dn", "ou=UserGroups,"+c.Suffix), Class: r.text("group_objectclass", "groupOfNames"), Filter: r.text("group_filter", ""),
		ID: r.text("group_id_attribute", "cn"), Name: r.text("group_name_attribute", "ou"),
		Description: r.unless(gone, "description", "group_desc_attribute", "description"), More: r.pairs("group_additional_attribute_mapping"),
	}
	c.Enabled = Enabled{
		Attr: r.unless(ignored, "enabled", "user_enabled_attribute", "enabled"), Invert: r.flag("user_enabled_invert", false),
		Mask: int64(r.number("user_enabled_mask", 0)), Default: r.text("user_enabled_default", "True"), Emulated: r.flag("user_enabled_emulation", false),
		GroupDN: r.text("user_enabled_emulation_dn", "cn=enabled_users,"+c.User.Base), GroupClass: "groupOfNames", MemberAttr: "member",
	}
	if r.flag("user_enabled_emulation_use_group_config", false) {
		c.Enabled.GroupClass, c.Enabled.MemberAttr = c.Group.Class, c.MemberAttr
	}
}

func (c *Config) check() error {
	if len(c.URLs) == 0 {
		return errors.New("ldap url: no server")
	}
	for _, s := range c.URLs {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" && u.Scheme != "ldapi" {
			return errors.New("ldap url: not an address of a directory")
		}
		if u.Scheme == "ldaps" && c.StartTLS {
			return errors.New("ldap url: use_tls and ldaps exclude each other")
		}
	}
	if c.BindDN != "" && c.BindPassword == "" { // a bind without password is an anonymous one (RFC 4513, 5.1.2)
		return errors.New("ldap password: a user without password")
	}
	for _, f := range []string{c.User.Filter, c.Group.Filter} {
		if f == "" {
			continue
		}
		if _, err := ldap.CompileFilter(f); err != nil {
			return fmt.Errorf("ldap filter: %w", err)
		}
	}
	for _, a := range []string{c.User.ID, c.User.Name, c.User.Class, c.Group.ID, c.Group.Name, c.Group.Class, c.MemberAttr, c.Enabled.MemberAttr, c.Enabled.GroupClass} {
		if !attribute(a) {
			return errors.New("ldap: an attribute or a class has no name of letters, digits, '-', '.' and ';'")
		}
	}
	return nil
}

// attribute reports whether a text is an attribute description (RFC 4512,
// section 2.5).
func attribute(s string) bool {
	for _, b := range []byte(s) {
		if (b|0x20 < 'a' || b|0x20 > 'z') && (b < '0' || b > '9') && b != '-' && b != '.' && b != ';' {
			return false
		}
	}
	return s != ""
}

// tls makes the TLS settings for a server.
func (c *Config) tls(host string) (*tls.Config, error) {
	t := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: !c.TLSVerify} //nolint:gosec // tls_req_cert says so
	var files []string
	if c.CACertFile != "" {
		files = append(files, c.CACertFile)
	}
	if c.CACertDir != "" {
		more, err := filepath.Glob(filepath.Join(c.CACertDir, "*"))
		if err != nil {
			return nil, fmt.Errorf("ldap tls_cacertdir: %w", err)
		}
		files = append(files, more[:min(len(more), 1000)]...)
	}
	if len(files) == 0 {
		return t, nil
	}
	t.RootCAs = x509.NewCertPool()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("ldap certificate: %w", err)
		}
		t.RootCAs.AppendCertsFromPEM(b)
	}
	return t, nil
}

// reader takes options out of a map and keeps the first error.
type reader struct {
	o   map[string]any
	err error
}

func (r *reader) fail(name string, v any) {
	if r.err == nil {
		r.err = fmt.Errorf("ldap %s: unknown value %v", name, v)
	}
}

func (r *reader) text(name, def string) string {
	switch v := r.o[name].(type) {
	case nil:
		return def
	case string:
		return v
	case bool:
		return map[bool]string{true: "True", false: "False"}[v]
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		r.fail(name, v)
		return def
	}
}

func (r *reader) flag(name string, def bool) bool {
	s := r.text(name, "")
	if s == "" {
		return def
	}
	v, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		r.fail(name, s)
	}
	return v
}

func (r *reader) number(name string, def int) int {
	s := r.text(name, "")
	if s == "" {
		return def
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != f || f < -1e9 || f > 1e9 {
		r.fail(name, s)
		return def
	}
	return int(f)
}

// seconds is a time limit; Keystone's -1 (none) has ours.
func (r *reader) seconds(name string) time.Duration {
	n := r.number(name, -1)
	if n <= 0 {
		return defaultTimeout
	}
	return min(time.Duration(n)*time.Second, maxTimeout)
}

func (r *reader) list(name string, def []string) []string {
	switch v := r.o[name].(type) {
	case nil:
		return def
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				r.fail(name, e)
			}
			out = append(out, s)
		}
		return out
	case []string:
		return v
	}
	var out []string
	for s := range strings.SplitSeq(r.text(name, ""), ",") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// unless is an attribute's name, empty where the field is ignored.
func (r *reader) unless(ignored []string, field, name, def string) string {
	for _, i := range ignored {
		if i == field {
			return ""
		}
	}
	a := r.text(name, def)
	if a != "" && !attribute(a) {
		r.fail(name, a)
	}
	return a
}

// pairs reads "attribute:field" pairs.
func (r *reader) pairs(name string) map[string]string {
	out := map[string]string{}
	for _, p := range r.list(name, nil) {
		attr, field, ok := strings.Cut(p, ":")
		if !ok || !attribute(attr) {
			r.fail(name, p)
			continue
		}
		out[attr] = field
	}
	return out
}
