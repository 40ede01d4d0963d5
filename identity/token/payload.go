// Package token reads and writes Fernet tokens as Keystone does, byte for
// byte, so that either side validates the other's, and keeps the key
// repository in Keystone's layout.
//
// A token is a Fernet message around a msgpack array: the version, then the
// fields of that version. Ids that are 32 hex digits travel as 16 bytes.
//
// Source: keystone.token.token_formatters;
// https://docs.openstack.org/keystone/latest/admin/fernet-token-faq.html
package token

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrToken says that a text is no token that one of the keys made.
var ErrToken = errors.New("token: not a valid token")

// The versions of a payload.
const (
	unscoped = iota
	domainScoped
	projectScoped
	trustScoped
	federatedUnscoped
	federatedProject
	federatedDomain
	oauthScoped
	systemScoped
	appCredential
	oauth2Credential
)

// MethodOAuth2 is the method of tokens that are bound to a client certificate.
const MethodOAuth2 = "oauth2_credential"

// Payload is what a token says.
type Payload struct {
	UserID    string
	Methods   []string
	ProjectID string
	DomainID  string
	System    bool
	TrustID   string
	AppCredID string
	// AccessTokenID is OAuth1's.
	AccessTokenID string
	// GroupIDs, ProviderID and ProtocolID are a federated login's.
	GroupIDs   []string
	ProviderID string
	ProtocolID string
	// Thumbprint binds the token to a client certificate (OAuth2 mTLS).
	Thumbprint string
	// AuditIDs are the token's own and, if it was made from another, that
	// of the first of the chain.
	AuditIDs []string
	// IssuedAt is kept by the Fernet message in whole seconds.
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// AuditID is the token's own audit id.
func (p *Payload) AuditID() string {
	if len(p.AuditIDs) == 0 {
		return ""
	}
	return p.AuditIDs[0]
}

// ChainID is the audit id of the first token of the chain.
func (p *Payload) ChainID() string {
	if len(p.AuditIDs) == 0 {
		return ""
	}
	return p.AuditIDs[len(p.AuditIDs)-1]
}

// Federated reports whether the token came from an identity provider.
func (p *Payload) Federated() bool { return p.ProviderID != "" }

// version chooses the first layout that holds all that is set.
func (p *Payload) version() int {
	switch {
	case p.Thumbprint != "":
		return oauth2Credential
	case p.TrustID != "":
		return trustScoped
	case p.AppCredID != "":
		return appCredential
	case p.Federated() && p.ProjectID != "":
		return federatedProject
	case p.Federated() && p.DomainID != "":
		return federatedDomain
	case p.Federated():
		return federatedUnscoped
	case p.AccessTokenID != "":
		return oauthScoped
	case p.System:
		return systemScoped
	case p.ProjectID != "":
		return projectScoped
	case p.DomainID != "":
		return domainScoped
	}
	return unscoped
}

// marshal packs p; methods are bits in the order of the known ones.
func (p *Payload) marshal(known []string) ([]byte, error) {
	methods := p.Methods
	if p.Thumbprint != "" { // its method needs no bit: the layout says it
		methods = slices.DeleteFunc(slices.Clone(methods), func(s string) bool { return s == MethodOAuth2 && !slices.Contains(known, s) })
	}
	bits, err := methodBits(methods, known)
	if err != nil {
		return nil, err
	}
	expires := float64(p.ExpiresAt.UnixMicro()) / 1e6
	audit, err := packAudit(p.AuditIDs)
	if err != nil {
		return nil, err
	}
	user, v := packID(p.UserID), p.version()
	var f []any
	switch v {
	case unscoped:
		f = []any{user, bits, expires, audit}
	case domainScoped:
		f = []any{user, bits, packBare(p.DomainID), expires, audit}
	case projectScoped:
		f = []any{user, bits, packID(p.ProjectID), expires, audit}
	case trustScoped:
		f = []any{user, bits, packID(p.ProjectID), expires, audit, packBare(p.TrustID)}
	case federatedUnscoped:
		f = []any{user, bits, packGroups(p.GroupIDs), packID(p.ProviderID), p.ProtocolID, expires, audit}
	case federatedProject:
		f = []any{user, bits, packID(p.ProjectID), packGroups(p.GroupIDs), packID(p.ProviderID), p.ProtocolID, expires, audit}
	case federatedDomain:
		f = []any{user, bits, packID(p.DomainID), packGroups(p.GroupIDs), packID(p.ProviderID), p.ProtocolID, expires, audit}
	case oauthScoped:
		f = []any{user, bits, packID(p.ProjectID), packID(p.AccessTokenID), expires, audit}
	case systemScoped:
		f = []any{user, bits, "all", expires, audit}
	case appCredential:
		f = []any{user, bits, packID(p.ProjectID), expires, audit, packID(p.AppCredID)}
	case oauth2Credential:
		f = []any{user, bits, packID(p.ProjectID), packID(p.DomainID), expires, audit, []any{false, p.Thumbprint}}
	}
	return msgpack.Marshal(append([]any{v}, f...))
}

// layouts name the fields of each version in order.
func layout(v int) (string, bool) {
	l := []string{"umea", "umdea", "umpea", "umpeat", "umgioea", "umpgioea", "umDgioea", "umpxea", "umsea", "umpeac", "umpDeaf"}
	if v < 0 || v >= len(l) {
		return "", false
	}
	return l[v], true
}

func unmarshal(b []byte, known []string) (*Payload, error) {
	var raw []any
	if err := msgpack.Unmarshal(b, &raw); err != nil || len(raw) < 1 {
		return nil, fmt.Errorf("%w: payload: %w", ErrToken, err)
	}
	v, ok := integer(raw[0])
	if !ok {
		return nil, ErrToken
	}
	fields, ok := layout(v)
	if !ok || len(raw) != len(fields)+1 {
		return nil, fmt.Errorf("%w: version %d with %d fields", ErrToken, v, len(raw)-1)
	}
	p := &Payload{}
	for i, f := range fields {
		if err := p.read(f, raw[i+1], known); err != nil {
			return nil, err
		}
	}
	if p.Thumbprint != "" && len(p.Methods) == 0 {
		p.Methods = []string{MethodOAuth2}
	}
	return p, nil
}

func (p *Payload) read(field rune, v any, known []string) (err error) {
	switch field {
	case 'u':
		p.UserID, err = unpackID(v)
	case 'm':
		p.Methods, err = bitMethods(v, known)
	case 'e':
		p.ExpiresAt, err = unpackTime(v)
	case 'a':
		p.AuditIDs, err = unpackAudit(v)
	case 'p':
		p.ProjectID, err = unpackID(v)
	case 'd':
		p.DomainID, err = unpackBare(v)
	case 'D':
		p.DomainID, err = unpackID(v)
	case 't':
		p.TrustID, err = unpackBare(v)
	case 'g':
		p.GroupIDs, err = unpackGroups(v)
	case 'i':
		p.ProviderID, err = unpackID(v)
	case 'o':
		p.ProtocolID, err = text(v)
	case 'x':
		p.AccessTokenID, err = unpackID(v)
	case 's':
		p.System = true
	case 'c':
		p.AppCredID, err = unpackID(v)
	case 'f':
		p.Thumbprint, err = unpackID(v)
	}
	return err
}

func isHexID(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

// packID is the pair (stored as bytes, value).
func packID(id string) []any {
	if isHexID(id) {
		b, _ := hex.DecodeString(id) // checked above
		return []any{true, b}
	}
	if id == "" {
		return []any{false, nil}
	}
	return []any{false, id}
}

func unpackID(v any) (string, error) {
	pair, ok := v.([]any)
	if !ok || len(pair) != 2 {
		return "", ErrToken
	}
	asBytes, ok := pair[0].(bool)
	if !ok {
		return "", ErrToken
	}
	if pair[1] == nil {
		return "", nil
	}
	if !asBytes {
		return text(pair[1])
	}
	b, err := text(pair[1])
	if err != nil || len(b) != 16 {
		return "", ErrToken
	}
	return hex.EncodeToString([]byte(b)), nil
}

// packBare is the value alone: bytes for a hex id, else text.
func packBare(id string) any { return packID(id)[1] }

func unpackBare(v any) (string, error) {
	if b, ok := v.([]byte); ok && len(b) == 16 {
		return hex.EncodeToString(b), nil
	}
	return text(v)
}

func packGroups(ids []string) []any {
	out := make([]any, len(ids))
	for i, id := range ids {
		out[i] = packID(id)
	}
	return out
}

func unpackGroups(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, ErrToken
	}
	out := make([]string, len(list))
	for i, g := range list {
		id, err := unpackID(g)
		if err != nil {
			return nil, err
		}
		out[i] = id
	}
	return out, nil
}

func packAudit(ids []string) ([]any, error) {
	out := make([]any, len(ids))
	for i, id := range ids {
		b, err := base64.RawURLEncoding.DecodeString(id)
		if err != nil {
			return nil, fmt.Errorf("token: audit id %q: %w", id, err)
		}
		out[i] = b
	}
	return out, nil
}

func unpackAudit(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) > 2 {
		return nil, ErrToken
	}
	out := make([]string, len(list))
	for i, a := range list {
		b, err := text(a)
		if err != nil {
			return nil, err
		}
		out[i] = base64.RawURLEncoding.EncodeToString([]byte(b))
	}
	return out, nil
}

func unpackTime(v any) (time.Time, error) {
	var f float64
	switch t := v.(type) {
	case float64:
		f = t
	case float32:
		f = float64(t)
	default:
		n, ok := integer(v)
		if !ok {
			return time.Time{}, ErrToken
		}
		f = float64(n)
	}
	if !(f > -1e11 && f < 1e11) { // also refuses NaN
		return time.Time{}, ErrToken
	}
	return time.UnixMicro(int64(f * 1e6)).UTC(), nil
}

func text(v any) (string, error) {
	switch t := v.(type) {
	case string:
		return t, nil
	case []byte:
		return string(t), nil
	}
	return "", ErrToken
}

func integer(v any) (int, bool) {
	switch n := v.(type) {
	case int8:
		return int(n), true
	case int16:
		return int(n), true
	case int32:
		return int(n), true
	case int64:
		return int(n), true
	case uint8:
		return int(n), true
	case uint16:
		return int(n), true
	case uint32:
		return int(n), true
	case uint64:
		if n > 1<<40 {
			return 0, false
		}
		return int(n), true
	}
	return 0, false
}

func methodBits(methods, known []string) (int, error) {
	bits := 0
	for _, m := range methods {
		found := false
		for i, k := range known {
			if k == m {
				bits |= 1 << i
				found = true
			}
		}
		if !found {
			return 0, fmt.Errorf("token: method %q is not configured", m)
		}
	}
	return bits, nil
}

func bitMethods(v any, known []string) ([]string, error) {
	bits, ok := integer(v)
	if !ok {
		return nil, ErrToken
	}
	var out []string
	for i, k := range known {
		if bits&(1<<i) != 0 {
			out = append(out, k)
		}
	}
	return out, nil
}
