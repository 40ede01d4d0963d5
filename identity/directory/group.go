package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// inChain is Active Directory's matching rule that follows nested groups.
const inChain = ":1.2.840.113556.1.4.1941:"

func (d *Directory) group(e *ldap.Entry) (Group, bool) {
	t := &d.cfg.Group
	g := Group{
		DN: e.DN, ID: value(e, t.ID), Name: value(e, t.Name), Description: value(e, t.Description), More: more(e, t),
		members: e.GetEqualFoldAttributeValues(d.cfg.MemberAttr),
	}
	return g, g.ID != "" && g.Name != ""
}

// GroupByID returns a group; ErrNotFound where there is none.
func (d *Directory) GroupByID(ctx context.Context, id string) (*Group, error) {
	return d.oneGroup(ctx, d.cfg.Group.idFilter(id))
}

// GroupByName returns the group with a name; ErrNotFound where there is none.
func (d *Directory) GroupByName(ctx context.Context, name string) (*Group, error) {
	return d.oneGroup(ctx, Named(Is, name).filter(d.cfg.Group.Name))
}

func (d *Directory) oneGroup(ctx context.Context, filter string) (*Group, error) {
	e, err := d.one(ctx, &d.cfg.Group, filter, d.cfg.Group.attributes(d.cfg.MemberAttr))
	if err != nil {
		return nil, err
	}
	g, ok := d.group(e)
	if !ok {
		return nil, ErrNotFound
	}
	return &g, nil
}

// Groups lists groups, at most limit.
func (d *Directory) Groups(ctx context.Context, m Match, limit int) ([]Group, error) {
	t := &d.cfg.Group
	return d.groups(ctx, t.and("("+t.ID+"=*)", m.filter(t.Name)), limit)
}

func (d *Directory) groups(ctx context.Context, filter string, limit int) ([]Group, error) {
	entries, err := d.search(ctx, d.cfg.Group.Base, d.cfg.Scope, filter, d.cfg.Group.attributes(), bounded(limit, d.cfg.ListLimit))
	if err != nil {
		return nil, err
	}
	out := make([]Group, 0, len(entries))
	for _, e := range entries {
		if g, ok := d.group(e); ok {
			out = append(out, g)
		}
	}
	return out, nil
}

// GroupsOf lists the groups that a user is in.
func (d *Directory) GroupsOf(ctx context.Context, u *User, m Match, limit int) ([]Group, error) {
	t, attr, who := &d.cfg.Group, d.cfg.MemberAttr, u.DN
	switch {
	case d.cfg.MembersAreIDs:
		who = u.ID
	case d.cfg.ADNesting:
		attr += inChain
	}
	return d.groups(ctx, t.and("("+attr+"="+ldap.EscapeFilter(who)+")", m.filter(t.Name)), limit)
}

// Members lists the users of a group, at most limit; members that are no
// users, or none that the filters show, are left out.
func (d *Directory) Members(ctx context.Context, g *Group, m Match, limit int) ([]User, error) {
	t, name := &d.cfg.User, m.filter(d.cfg.User.Name)
	limit = bounded(limit, d.cfg.ListLimit)
	if d.cfg.ADNesting && !d.cfg.MembersAreIDs {
		return d.users(ctx, t.and("(memberOf"+inChain+"="+ldap.EscapeFilter(g.DN)+")", name), limit)
	}
	var ids, others []string
	in := map[string]bool{}
	for _, v := range g.members[:min(len(g.members), d.cfg.ListLimit)] {
		if d.cfg.MembersAreIDs {
			ids = append(ids, v)
			continue
		}
		in[normal(v)] = true
		if id, ok := d.cfg.idIn(v); ok {
			ids = append(ids, id)
		} else {
			others = append(others, v)
		}
	}
	var out []User
	for chunk := range slices.Chunk(ids, 100) {
		var or strings.Builder
		for _, id := range chunk {
			or.WriteString(t.idFilter(id))
		}
		list, err := d.users(ctx, t.and("(|"+or.String()+")", name), limit)
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			if d.cfg.MembersAreIDs || in[normal(u.DN)] {
				out = append(out, u)
			}
		}
		if len(out) >= limit {
			return out[:limit], nil
		}
	}
	// Names that do not tell the id are looked up one by one.
	for _, dn := range others[:min(len(others), 1000)] {
		entries, err := d.search(ctx, dn, ldap.ScopeBaseObject, t.and(name), d.userAttributes(), 1)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if u, ok := d.user(e); ok && len(out) < limit {
				out = append(out, u)
			}
		}
	}
	return out, d.emulate(ctx, out)
}

// idIn takes a user's id out of a distinguished name, where the name begins
// with it.
func (c *Config) idIn(dn string) (string, bool) {
	p, err := ldap.ParseDN(dn)
	if err != nil || len(p.RDNs) == 0 {
		return "", false
	}
	for _, a := range p.RDNs[0].Attributes {
		if strings.EqualFold(a.Type, c.User.ID) {
			return a.Value, true
		}
	}
	return "", false
}
