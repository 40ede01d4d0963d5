package directory

import (
	"context"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// User is an entry as a user.
type User struct {
	DN, ID, Name      string
	Mail, Description string
	DefaultProject    string
	Enabled           bool
	More              map[string]string
}

// Group is an entry as a group.
type Group struct {
	DN, ID, Name, Description string
	More                      map[string]string
	members                   []string
}

func (d *Directory) userAttributes() []string {
	t, n := &d.cfg.User, &d.cfg.Enabled
	if n.Emulated {
		return t.attributes()
	}
	return t.attributes(n.Attr)
}

// user reads an entry; one without id or name is none.
func (d *Directory) user(e *ldap.Entry) (User, bool) {
	t := &d.cfg.User
	u := User{
		DN: e.DN, ID: value(e, t.ID), Name: value(e, t.Name), Mail: value(e, t.Mail), Description: value(e, t.Description),
		DefaultProject: value(e, t.Project), Enabled: d.cfg.Enabled.of(e), More: more(e, t),
	}
	return u, u.ID != "" && u.Name != ""
}

func more(e *ldap.Entry, t *Tree) map[string]string {
	var out map[string]string
	for a, field := range t.More {
		if v := value(e, a); v != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[field] = v
		}
	}
	return out
}

// UserByID returns a user; ErrNotFound where there is none.
func (d *Directory) UserByID(ctx context.Context, id string) (*User, error) {
	return d.oneUser(ctx, d.cfg.User.idFilter(id))
}

// UserByName returns the user with a name; ErrNotFound where there is none.
func (d *Directory) UserByName(ctx context.Context, name string) (*User, error) {
	return d.oneUser(ctx, Named(Is, name).filter(d.cfg.User.Name))
}

func (d *Directory) oneUser(ctx context.Context, filter string) (*User, error) {
	e, err := d.one(ctx, &d.cfg.User, filter, d.userAttributes())
	if err != nil {
		return nil, err
	}
	u, ok := d.user(e)
	if !ok {
		return nil, ErrNotFound
	}
	if d.cfg.Enabled.Emulated {
		n := &d.cfg.Enabled
		list, err := d.search(ctx, n.GroupDN, ldap.ScopeBaseObject, "("+n.MemberAttr+"="+ldap.EscapeFilter(u.DN)+")", []string{"1.1"}, 1)
		if err != nil {
			return nil, err
		}
		u.Enabled = len(list) > 0
	}
	return &u, nil
}

// Users lists users, at most limit.
func (d *Directory) Users(ctx context.Context, m Match, limit int) ([]User, error) {
	t := &d.cfg.User
	return d.users(ctx, t.and("("+t.ID+"=*)", m.filter(t.Name)), limit)
}

func (d *Directory) users(ctx context.Context, filter string, limit int) ([]User, error) {
	limit = bounded(limit, d.cfg.ListLimit)
	entries, err := d.search(ctx, d.cfg.User.Base, d.cfg.Scope, filter, d.userAttributes(), limit)
	if err != nil {
		return nil, err
	}
	out := make([]User, 0, len(entries))
	for _, e := range entries {
		if u, ok := d.user(e); ok && !strings.EqualFold(u.DN, d.cfg.Enabled.GroupDN) {
			out = append(out, u)
		}
	}
	return out, d.emulate(ctx, out)
}

// emulate sets who of a list is enabled, where a group says so.
func (d *Directory) emulate(ctx context.Context, list []User) error {
	n := &d.cfg.Enabled
	if !n.Emulated || len(list) == 0 {
		return nil
	}
	entries, err := d.search(ctx, n.GroupDN, ldap.ScopeBaseObject, "(objectClass=*)", []string{n.MemberAttr}, 1)
	if err != nil {
		return err
	}
	in := map[string]bool{}
	for _, e := range entries {
		for _, dn := range e.GetEqualFoldAttributeValues(n.MemberAttr) {
			in[normal(dn)] = true
		}
	}
	for i := range list {
		list[i].Enabled = in[normal(list[i].DN)]
	}
	return nil
}

func bounded(limit, most int) int {
	if limit <= 0 || limit > most {
		return most
	}
	return limit
}

// normal is a distinguished name in one spelling.
func normal(dn string) string {
	p, err := ldap.ParseDN(dn)
	if err != nil {
		return strings.ToLower(dn)
	}
	return strings.ToLower(p.String())
}
