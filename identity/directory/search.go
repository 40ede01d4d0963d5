package directory

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
	"github.com/google/uuid"
)

// ErrNotFound says that there is no such entry.
var ErrNotFound = errors.New("no such entry")

// Match narrows a list by a name.
type Match struct {
	Part string
	Kind MatchKind
}

// MatchKind says how a name is compared; a directory ignores case.
type MatchKind int

// The kinds of matches.
const (
	Any MatchKind = iota
	Is
	Contains
	StartsWith
	EndsWith
)

// Named is a match of a name.
func Named(k MatchKind, text string) Match { return Match{Kind: k, Part: text} }

func (m Match) filter(attr string) string {
	v := ldap.EscapeFilter(m.Part)
	switch m.Kind {
	case Is:
		return "(" + attr + "=" + v + ")"
	case Contains:
		v = "*" + v + "*"
	case StartsWith:
		v += "*"
	case EndsWith:
		v = "*" + v
	default:
		return ""
	}
	if strings.Trim(v, "*") == "" {
		return "(" + attr + "=*)"
	}
	return "(" + attr + "=" + v + ")"
}

// and joins filters with those of the tree.
func (t *Tree) and(filters ...string) string {
	return "(&(objectClass=" + t.Class + ")" + t.Filter + strings.Join(filters, "") + ")"
}

func (t *Tree) attributes(more ...string) []string {
	out := []string{t.ID, t.Name}
	for _, a := range append([]string{t.Mail, t.Description, t.Project}, more...) {
		if a != "" {
			out = append(out, a)
		}
	}
	for a := range t.More {
		out = append(out, a)
	}
	return out
}

// search returns at most limit entries below base.
func (d *Directory) search(ctx context.Context, base string, scope int, filter string, attrs []string, limit int) ([]*ldap.Entry, error) {
	var out []*ldap.Entry
	err := d.with(ctx, func(c *ldap.Conn) error {
		out = nil
		size := limit
		var paging *ldap.ControlPaging
		var controls []ldap.Control
		if d.cfg.PageSize > 0 && scope != ldap.ScopeBaseObject {
			paging = ldap.NewControlPaging(uint32(min(d.cfg.PageSize, limit))) //nolint:gosec // positive and small
			controls, size = []ldap.Control{paging}, 0
		}
		for {
			res, err := c.Search(ldap.NewSearchRequest(base, scope, d.cfg.Deref, size, int(d.cfg.Timeout.Seconds())+1, false, filter, attrs, controls))
			if res != nil {
				out = append(out, res.Entries...)
			}
			switch {
			case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || len(out) >= limit:
				out = out[:min(len(out), limit)]
				return nil
			case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
				return nil
			case err != nil:
				return err
			}
			next, _ := ldap.FindControl(res.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
			if paging == nil || next == nil || len(next.Cookie) == 0 {
				return nil
			}
			paging.SetCookie(next.Cookie)
		}
	})
	if err != nil && !errors.Is(err, ErrDown) && ctx.Err() == nil {
		return nil, fmt.Errorf("%w: search: %w", ErrDown, err) // refused: as useless as one that is down
	}
	return out, err
}

const objectGUID = "objectGUID"

// value is an attribute's first value as text. Active Directory's binary ids
// are shown as UUIDs (their first three fields are stored little endian).
func value(e *ldap.Entry, attr string) string {
	if attr == "" {
		return ""
	}
	if strings.EqualFold(attr, "dn") {
		return e.DN
	}
	raw := e.GetEqualFoldRawAttributeValue(attr)
	if strings.EqualFold(attr, objectGUID) && len(raw) == 16 {
		return swapGUID([16]byte(raw)).String()
	}
	if !utf8.Valid(raw) {
		return hex.EncodeToString(raw)
	}
	return string(raw)
}

func swapGUID(b [16]byte) uuid.UUID {
	b[0], b[1], b[2], b[3] = b[3], b[2], b[1], b[0]
	b[4], b[5] = b[5], b[4]
	b[6], b[7] = b[7], b[6]
	return uuid.UUID(b)
}

// idFilter asks for an entry by its id.
func (t *Tree) idFilter(id string) string {
	if strings.EqualFold(t.ID, objectGUID) {
		if u, err := uuid.Parse(id); err == nil {
			var b strings.Builder
			for _, x := range swapGUID(u) {
				fmt.Fprintf(&b, `\%02x`, x)
			}
			return "(" + t.ID + "=" + b.String() + ")"
		}
	}
	return "(" + t.ID + "=" + ldap.EscapeFilter(id) + ")"
}

// one returns the entry of an id, with the entry's own spelling of it.
func (d *Directory) one(ctx context.Context, t *Tree, filter string, attrs []string) (*ldap.Entry, error) {
	list, err := d.search(ctx, t.Base, d.cfg.Scope, t.and(filter), attrs, 2)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, ErrNotFound
	case len(list) > 1: // who of them is meant nobody can say
		return nil, fmt.Errorf("%w: the id or name is not unique", ErrNotFound)
	}
	return list[0], nil
}

// truth reads an LDAP Boolean, or a number.
func truth(s string) bool {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "TRUE", "1", "YES", "ON", "T":
		return true
	}
	return false
}

// of reports whether an entry's user is enabled, emulation aside.
func (n *Enabled) of(e *ldap.Entry) bool {
	if n.Attr == "" || n.Emulated {
		return true
	}
	s := value(e, n.Attr)
	if s == "" {
		s = n.Default
	}
	if n.Mask != 0 {
		v, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return false // a flag that nobody can read does not let in (OSSA-2026-007)
		}
		return v&n.Mask != n.Mask
	}
	if n.Invert {
		if value(e, n.Attr) == "" {
			return truth(n.Default)
		}
		// Only a clear no is one: anything else may mean "disabled".
		switch strings.ToUpper(strings.TrimSpace(s)) {
		case "FALSE", "0", "NO", "OFF", "F":
			return true
		}
		return false
	}
	return truth(s)
}
