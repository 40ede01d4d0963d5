package manager

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 5849's
	"encoding/base64"
	"math/big"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// OAuthProof is a request signed by OAuth 1.0a (RFC 5849) with HMAC-SHA1.
type OAuthProof struct {
	Method, URL   string              // URL as the client asked, without the query
	Authorization string              // the header
	Query         map[string][]string // the other parameters
}

// params reads the header's parameters.
func (o *OAuthProof) params() map[string]string {
	out := map[string]string{}
	rest, ok := strings.CutPrefix(o.Authorization, "OAuth ")
	if !ok {
		return out
	}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		out[k] = unescape(strings.Trim(v, `"`))
	}
	return out
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// signature is the base string signed with both secrets (section 3.4).
func (o *OAuthProof) signature(params map[string]string, consumerSecret, tokenSecret string) string {
	var pairs []string
	for k, v := range params {
		if k != "oauth_signature" && k != "realm" {
			pairs = append(pairs, escape(k)+"="+escape(v))
		}
	}
	for k, vs := range o.Query {
		for _, v := range vs {
			pairs = append(pairs, escape(k)+"="+escape(v))
		}
	}
	sort.Strings(pairs)
	base := strings.ToUpper(o.Method) + "&" + escape(o.URL) + "&" + escape(strings.Join(pairs, "&"))
	mac := hmac.New(sha1.New, []byte(escape(consumerSecret)+"&"+escape(tokenSecret)))
	mac.Write([]byte(base))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// checkOAuth checks signature, age and nonce.
func (m *Manager) checkOAuth(ctx context.Context, o *OAuthProof, p map[string]string, consumerSecret, tokenSecret string) error {
	if p["oauth_signature_method"] != "HMAC-SHA1" || !equal(o.signature(p, consumerSecret, tokenSecret), p["oauth_signature"]) {
		return unauthenticated("wrong OAuth1 signature")
	}
	sec, err := strconv.ParseInt(p["oauth_timestamp"], 10, 64)
	ttl := time.Duration(m.cfg.Credential.AuthTTL) * time.Minute
	if age := m.now().Sub(time.Unix(sec, 0)); err != nil || age > ttl || age < -ttl || p["oauth_nonce"] == "" {
		return unauthenticated("the OAuth1 signature is too old")
	}
	err = m.store.UseOnce(ctx, keyDigest("oauth1/"+p["oauth_consumer_key"]+"/"+p["oauth_token"]+"/"+p["oauth_timestamp"]+"/"+p["oauth_nonce"]), m.now().Add(2*ttl))
	if fault.Is(err, fault.Conflict) {
		return unauthenticated("the nonce was used before")
	}
	return err
}

func required(p map[string]string, names ...string) error {
	for _, n := range names {
		if p[n] == "" {
			return fault.Invalidf("Expecting to find %s in request. The server could not comply with the request since it is either malformed or otherwise incorrect.", n)
		}
	}
	return nil
}

// RequestToken makes a request token for a consumer that signed.
func (m *Manager) RequestToken(ctx context.Context, o *OAuthProof, projectID string) (*identity.RequestToken, error) {
	p := o.params()
	if err := required(p, "oauth_consumer_key"); err != nil {
		return nil, err
	}
	if projectID == "" {
		return nil, fault.Invalidf("Expecting to find Requested-Project-Id in request.")
	}
	if _, err := m.store.Projects.Get(ctx, projectID); err != nil {
		return nil, err
	}
	c, err := m.store.Consumers.Get(ctx, p["oauth_consumer_key"])
	if err != nil {
		return nil, err
	}
	if err := m.checkOAuth(ctx, o, p, c.Secret, ""); err != nil {
		return nil, err
	}
	t := &identity.RequestToken{
		ID: NewID(), Secret: NewID(), ProjectID: projectID, ConsumerID: c.ID,
		ExpiresAt: m.now().Add(time.Duration(m.cfg.OAuth1.RequestTokenDuration) * time.Second),
	}
	return t, m.store.RequestTokens.Create(ctx, t)
}

// AuthorizeRequest lets a user give roles of the user's own to a request token
// and returns the verifier that the user hands to the consumer. A delegated
// token may not (threats 28).
func (m *Manager) AuthorizeRequest(ctx context.Context, by *identity.Token, id string, roles []RoleRef) (string, error) {
	if by.Delegated() {
		return "", fault.Forbiddenf("Cannot authorize a request token with a token issued via delegation.")
	}
	t, err := m.store.RequestTokens.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if !t.ExpiresAt.After(m.now()) {
		return "", unauthenticated("the request token has expired")
	}
	project, _, err := m.activeProject(ctx, t.ProjectID)
	if err != nil {
		return "", err
	}
	has, err := m.roleIDs(ctx, by.User.ID, by.GroupIDs, project, nil, false)
	if err != nil {
		return "", err
	}
	gen, err := m.store.Generation(ctx)
	if err != nil {
		return "", err
	}
	b, err := m.readBook(ctx, gen)
	if err != nil {
		return "", err
	}
	after := *t
	after.UserID, after.RoleIDs, after.Verifier = identity.Ref(by.User.ID), nil, verifier()
	all := b.closure(has)
	for _, r := range roles {
		id, err := b.find(r)
		if err != nil || !all[id] {
			return "", fault.New(fault.Unauthenticated, "authorizing user does not have role required")
		}
		after.RoleIDs = append(after.RoleIDs, id)
	}
	return after.Verifier, m.store.RequestTokens.Update(ctx, t.ID, t, &after)
}

func verifier() string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	b := make([]byte, 8)
	for i := range b {
		n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet)))) // never fails
		b[i] = alphabet[n.Int64()]
	}
	return string(b)
}

// AccessToken changes an authorized request token for an access token, once.
func (m *Manager) AccessToken(ctx context.Context, o *OAuthProof) (*identity.AccessToken, error) {
	p := o.params()
	if err := required(p, "oauth_consumer_key", "oauth_token", "oauth_verifier"); err != nil {
		return nil, err
	}
	t, err := m.store.RequestTokens.Get(ctx, p["oauth_token"])
	if err != nil {
		return nil, err
	}
	c, err := gone(m.store.Consumers.Get(ctx, p["oauth_consumer_key"]))
	if err != nil {
		return nil, err
	}
	if c == nil || t.ConsumerID != c.ID || !t.ExpiresAt.After(m.now()) || t.UserID == "" || !equal(t.Verifier, p["oauth_verifier"]) {
		return nil, unauthenticated("the request token is not for this consumer, expired or not authorized")
	}
	if err := m.checkOAuth(ctx, o, p, c.Secret, t.Secret); err != nil {
		return nil, err
	}
	a := &identity.AccessToken{ID: NewID(), Secret: NewID(), UserID: string(t.UserID), ProjectID: t.ProjectID, RoleIDs: t.RoleIDs, ConsumerID: c.ID}
	if d := m.cfg.OAuth1.AccessTokenDuration; d > 0 {
		a.ExpiresAt = ptr(m.now().Add(time.Duration(d) * time.Second))
	}
	return a, m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.store.RequestTokens.Delete(ctx, t.ID); err != nil {
			return err
		}
		return m.store.AccessTokens.Create(ctx, a)
	})
}

// byOAuth1 takes a request signed with an access token as the proof.
func (m *Manager) byOAuth1(ctx context.Context, p *proof, in *OAuthProof) error {
	if in == nil {
		return unauthenticated("no OAuth1 proof")
	}
	params := in.params()
	a, err := gone(m.store.AccessTokens.Get(ctx, params["oauth_token"]))
	if err != nil {
		return err
	}
	if a == nil || a.ConsumerID != params["oauth_consumer_key"] || a.ExpiresAt != nil && !a.ExpiresAt.After(m.now()) {
		return unauthenticated("no such access token, or it has expired")
	}
	c, err := m.store.Consumers.Get(ctx, a.ConsumerID)
	if err != nil {
		return notFoundAs(err, "the consumer is gone")
	}
	if err := m.checkOAuth(ctx, in, params, c.Secret, a.Secret); err != nil {
		return err
	}
	p.access = a
	return p.is(a.UserID)
}

// Consumer returns one consumer.
func (m *Manager) Consumer(ctx context.Context, id string) (*identity.Consumer, error) {
	return m.store.Consumers.Get(ctx, id)
}

// Consumers lists consumers.
func (m *Manager) Consumers(ctx context.Context) ([]identity.Consumer, error) {
	return m.store.Consumers.List(ctx, identity.Query{})
}

// CreateConsumer stores a consumer with a new secret.
func (m *Manager) CreateConsumer(ctx context.Context, c identity.Consumer) (*identity.Consumer, error) {
	c.ID, c.Secret = rowID(ctx), NewID()
	return &c, m.store.Consumers.Create(ctx, &c)
}

// UpdateConsumer stores the differences of after to before.
func (m *Manager) UpdateConsumer(ctx context.Context, before, after *identity.Consumer) error {
	return m.store.Consumers.Update(ctx, before.ID, before, after)
}

// DeleteConsumer removes a consumer; its tokens end.
func (m *Manager) DeleteConsumer(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.Consumers.Delete(ctx, id); err != nil {
			return err
		}
		return m.revoke(ctx, identity.Revocation{ConsumerID: identity.Ref(id)})
	})
}

// AccessTokenOf returns an access token of a user.
func (m *Manager) AccessTokenOf(ctx context.Context, userID, id string) (*identity.AccessToken, error) {
	a, err := m.store.AccessTokens.Get(ctx, id)
	if err == nil && a.UserID != userID {
		return nil, fault.New(fault.NotFound, "Could not find access token: %s.", id)
	}
	return a, err
}

// AccessTokens lists the access tokens of a user.
func (m *Manager) AccessTokens(ctx context.Context, userID string) ([]identity.AccessToken, error) {
	return m.store.AccessTokens.List(ctx, identity.By("authorizing_user_id", userID))
}

// DeleteAccessToken takes a user's consent back; tokens made with it end.
func (m *Manager) DeleteAccessToken(ctx context.Context, id string) error {
	return m.change(ctx, func(ctx context.Context) error {
		if err := m.store.AccessTokens.Delete(ctx, id); err != nil {
			return err
		}
		return m.revoke(ctx, identity.Revocation{AccessTokenID: identity.Ref(id)})
	})
}

// AccessTokenRole returns one role of an access token.
func (m *Manager) AccessTokenRole(ctx context.Context, a *identity.AccessToken, roleID string) (*identity.Role, error) {
	if !slices.Contains(a.RoleIDs, roleID) {
		return nil, fault.New(fault.NotFound, "Could not find role: %s.", roleID)
	}
	return m.store.Roles.Get(ctx, roleID)
}
