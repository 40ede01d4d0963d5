package directory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tropocloud/tropo/identity/directory"
	"github.com/tropocloud/tropo/identity/directory/directorytest"
)

// open reads s with more options.
func open(t *testing.T, s *directorytest.Server, more map[string]any) *directory.Directory {
	t.Helper()
	o := s.Options()
	maps.Copy(o, more)
	c, err := directory.Parse(o)
	if err != nil {
		t.Fatal(err)
	}
	d := directory.New(c)
	t.Cleanup(d.Close)
	return d
}

func names(list []directory.User) []string {
	var out []string
	for _, u := range list {
		out = append(out, u.Name)
	}
	slices.Sort(out)
	return out
}

func TestUsers(t *testing.T) {
	s := directorytest.Start(t)
	ctx := context.Background()
	alice := s.User("alice", "Alice", "alice-secret", "TRUE")
	s.User("bob", "Bob", "bob-secret", "FALSE")
	s.User("o'brien, (x)*\\", "Odd*(name)", "odd-secret", "TRUE")
	d := open(t, s, nil)
	u, err := d.UserByName(ctx, "alice")
	if err != nil || u.DN != alice || u.ID != "alice" || !u.Enabled || u.Mail != "someone@corp.test" {
		t.Fatalf("%+v %v", u, err)
	}
	if u, err := d.UserByID(ctx, "bob"); err != nil || u.Enabled {
		t.Errorf("a disabled user: %+v %v", u, err)
	}
	if u, err := d.UserByID(ctx, "o'brien, (x)*\\"); err != nil || u.Name != "Odd*(name)" {
		t.Errorf("an odd user: %+v %v", u, err)
	}
	for want, m := range map[string]directory.Match{
		"[Alice Bob Odd*(name)]": {}, "[Alice]": directory.Named(directory.StartsWith, "al"), "[Bob]": directory.Named(directory.Contains, "O"),
		"[Odd*(name)]": directory.Named(directory.Contains, "*("), "[]": directory.Named(directory.Is, "*"),
	} {
		list, err := d.Users(ctx, m, 0)
		if want == "[Bob]" {
			want = "[Bob Odd*(name)]"
		}
		if err != nil || fmt.Sprint(names(list)) != want {
			t.Errorf("%+v: %v, want %s: %v", m, names(list), want, err)
		}
	}
	if list, err := d.Users(ctx, directory.Match{}, 2); err != nil || len(list) != 2 {
		t.Errorf("a limit of 2: %v %v", names(list), err)
	}
	paged := open(t, s, map[string]any{"page_size": 1.0, "query_scope": "sub"})
	if list, err := paged.Users(ctx, directory.Match{}, 0); err != nil || len(list) != 3 {
		t.Errorf("in pages: %v %v", names(list), err)
	}
	for pw, want := range map[string]bool{"alice-secret": true, "wrong": false, "": false} {
		if ok, err := d.Bind(ctx, alice, pw); ok != want || err != nil {
			t.Errorf("bind with %q: %v %v", pw, ok, err)
		}
	}
}

// What callers send stays text in filters and names.
func TestInjection(t *testing.T) {
	s := directorytest.Start(t)
	s.User("alice", "Alice", "alice-secret", "TRUE")
	g := s.Group("staff", "Staff", "cn=alice,ou=Users,"+directorytest.Suffix)
	d := open(t, s, nil)
	ctx := context.Background()
	for _, evil := range []string{"*", "", "a*", "alice)(cn=*", "*)(objectClass=*", "x)(|(cn=*))", "alice\x00", `\2a`, "alice)(!(cn=nobody))"} {
		if u, err := d.UserByName(ctx, evil); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("name %q: %+v %v", evil, u, err)
		}
		if u, err := d.UserByID(ctx, evil); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("id %q: %+v %v", evil, u, err)
		}
		if g, err := d.GroupByName(ctx, evil); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("group %q: %+v %v", evil, g, err)
		}
		if list, err := d.GroupsOf(ctx, &directory.User{DN: evil, ID: evil}, directory.Match{}, 0); err != nil || len(list) != 0 {
			t.Errorf("groups of %q: %v %v", evil, list, err)
		}
		if list, err := d.Users(ctx, directory.Named(directory.Contains, evil), 0); err != nil || evil != "" && len(list) > 0 {
			t.Errorf("list %q: %v %v", evil, names(list), err)
		}
	}
	_ = g
}

func TestGroups(t *testing.T) {
	s := directorytest.Start(t)
	ctx := context.Background()
	alice, bob := s.User("alice", "Alice", "", "TRUE"), s.User("bob", "Bob", "", "TRUE")
	s.Group("staff", "Staff", alice, bob, "cn=ghost,ou=Users,"+directorytest.Suffix)
	s.Group("admins", "Admins", alice)
	s.Add("cn=unix,ou=UserGroups,"+directorytest.Suffix, "objectClass", "posixGroup", "cn", "unix", "gidNumber", "7", "memberUid", "bob")
	d := open(t, s, nil)
	u, err := d.UserByName(ctx, "Alice")
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.GroupsOf(ctx, u, directory.Match{}, 0)
	if err != nil || len(list) != 2 {
		t.Errorf("groups of alice: %+v %v", list, err)
	}
	if list, err := d.GroupsOf(ctx, u, directory.Named(directory.Is, "admins"), 0); err != nil || len(list) != 1 || list[0].ID != "admins" {
		t.Errorf("one group of alice: %+v %v", list, err)
	}
	g, err := d.GroupByID(ctx, "staff")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := d.Members(ctx, g, directory.Match{}, 0); err != nil || fmt.Sprint(names(list)) != "[Alice Bob]" {
		t.Errorf("members: %v %v", names(list), err)
	}
	if list, err := d.Members(ctx, g, directory.Named(directory.StartsWith, "b"), 0); err != nil || fmt.Sprint(names(list)) != "[Bob]" {
		t.Errorf("members with b: %v %v", names(list), err)
	}
	// Ids by another attribute: members' names do not tell them.
	byMail := open(t, s, map[string]any{"user_id_attribute": "sn", "user_name_attribute": "cn"})
	if list, err := byMail.Members(ctx, g, directory.Match{}, 0); err != nil || fmt.Sprint(names(list)) != "[alice bob]" {
		t.Errorf("members looked up by name: %v %v", names(list), err)
	}
	unix := open(t, s, map[string]any{"group_objectclass": "posixGroup", "group_name_attribute": "cn", "group_member_attribute": "memberUid", "group_members_are_ids": true})
	g, err = unix.GroupByName(ctx, "unix")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := unix.Members(ctx, g, directory.Match{}, 0); err != nil || fmt.Sprint(names(list)) != "[Bob]" {
		t.Errorf("members by id: %v %v", names(list), err)
	}
	if list, err := unix.GroupsOf(ctx, &directory.User{ID: "bob"}, directory.Match{}, 0); err != nil || len(list) != 1 {
		t.Errorf("groups by id: %v %v", list, err)
	}
}

// The ways in which entries tell that they are disabled (threat 35).
func TestThreat35Enabled(t *testing.T) {
	s := directorytest.Start(t)
	ctx := context.Background()
	on := s.User("on", "On", "", "TRUE")
	s.User("off", "Off", "", "FALSE")
	s.User("none", "None", "", "")
	s.User("odd", "Odd", "", "maybe")
	s.User("ad512", "Ad512", "", "512")
	s.User("ad514", "Ad514", "", "514")
	s.Add("cn=enabled_users,ou=Users,"+directorytest.Suffix, "objectClass", "groupOfNames", "cn", "enabled_users", "member", on)
	for name, c := range map[string]struct {
		options map[string]any
		enabled string
	}{
		"plain":           {map[string]any{}, "[None On]"},
		"default off":     {map[string]any{"user_enabled_default": "False"}, "[On]"},
		"inverted":        {map[string]any{"user_enabled_invert": true, "user_enabled_default": "False"}, "[Off]"},
		"inverted, on":    {map[string]any{"user_enabled_invert": "true"}, "[None Off]"},
		"mask":            {map[string]any{"user_enabled_mask": 2.0, "user_enabled_default": "512"}, "[Ad512 None]"},
		"mask, default 2": {map[string]any{"user_enabled_mask": "2", "user_enabled_default": 514.0}, "[Ad512]"},
		"emulated":        {map[string]any{"user_enabled_emulation": true}, "[On]"},
		"ignored":         {map[string]any{"user_attribute_ignore": []any{"enabled"}}, "[Ad512 Ad514 None Odd Off On]"},
	} {
		d := open(t, s, c.options)
		list, err := d.Users(ctx, directory.Match{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		var on []directory.User
		for _, u := range list {
			one, err := d.UserByID(ctx, u.ID)
			if err != nil || one.Enabled != u.Enabled {
				t.Errorf("%s: %s alone: %+v %v", name, u.ID, one, err)
			}
			if u.Enabled {
				on = append(on, u)
			}
		}
		if got := fmt.Sprint(names(on)); got != c.enabled {
			t.Errorf("%s: enabled are %s, want %s", name, got, c.enabled)
		}
	}
}

func TestTLS(t *testing.T) {
	s := directorytest.Start(t)
	s.User("alice", "Alice", "", "TRUE")
	for name, c := range map[string]struct {
		options map[string]any
		ok      bool
	}{
		"ldaps":            {map[string]any{"url": s.TLSURL, "tls_cacertfile": s.CAFile}, true},
		"StartTLS":         {map[string]any{"use_tls": true, "tls_cacertfile": s.CAFile}, true},
		"unknown issuer":   {map[string]any{"url": s.TLSURL}, false},
		"StartTLS, too":    {map[string]any{"use_tls": true}, false},
		"never":            {map[string]any{"url": s.TLSURL, "tls_req_cert": "never"}, true},
		"wrong own bind":   {map[string]any{"password": "wrong"}, false},
		"the second works": {map[string]any{"url": "ldap://127.0.0.1:1," + s.URL}, true},
	} {
		_, err := open(t, s, c.options).UserByID(context.Background(), "alice")
		if (err == nil) != c.ok || err != nil && !errors.Is(err, directory.ErrDown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A server that is restarted, gone or mute costs bounded time.
func TestDown(t *testing.T) {
	s := directorytest.Start(t)
	s.User("alice", "Alice", "", "TRUE")
	d := open(t, s, nil)
	ctx := context.Background()
	ask := func() error { _, err := d.UserByID(ctx, "alice"); return err }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	s.Down()
	if err := ask(); !errors.Is(err, directory.ErrDown) {
		t.Errorf("down: %v", err)
	}
	s.Up()
	if err := ask(); err != nil {
		t.Errorf("up again: %v", err)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = mute.Close() }()
	start := time.Now()
	d = open(t, s, map[string]any{"url": "ldap://" + mute.Addr().String(), "connection_timeout": 1.0})
	if err := ask(); !errors.Is(err, directory.ErrDown) || time.Since(start) > 10*time.Second {
		t.Errorf("mute: %v after %v", err, time.Since(start))
	}
}

func TestParse(t *testing.T) {
	for name, o := range map[string]map[string]any{
		"no password":   {"user": "cn=x"},
		"scheme":        {"url": "http://x"},
		"both TLS":      {"url": "ldaps://x", "use_tls": true},
		"filter":        {"user_filter": "(cn=*"},
		"attribute":     {"user_id_attribute": "cn)(x"},
		"class":         {"group_objectclass": ""},
		"scope":         {"query_scope": "all"},
		"number":        {"page_size": "many"},
		"boolean":       {"use_tls": "perhaps"},
		"mapping":       {"user_additional_attribute_mapping": "phone"},
		"certificates":  {"tls_req_cert": "please"},
		"type of value": {"suffix": []any{1.0}},
	} {
		if c, err := directory.Parse(o); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
