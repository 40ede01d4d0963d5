package manager

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the protocols' own
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/token"
)

// EC2Credential is an EC2 key pair as /users/{id}/credentials/OS-EC2 shows it.
type EC2Credential struct{ Access, Secret, UserID, ProjectID, TrustID string }

// ReadEC2 reads a credential of type ec2 whose blob is in the clear.
func ReadEC2(c *identity.Credential) (*EC2Credential, error) {
	var b ec2Blob
	if err := json.Unmarshal([]byte(c.Blob), &b); err != nil {
		return nil, fmt.Errorf("blob of credential %s: %w", c.ID, err)
	}
	return &EC2Credential{b.Access, b.Secret, c.UserID, string(c.ProjectID), b.TrustID}, nil
}

// EC2Credentials lists those of a user.
func (m *Manager) EC2Credentials(ctx context.Context, userID string) ([]EC2Credential, error) {
	list, err := m.Credentials(ctx, identity.By("user_id", userID).And("credential_type", CredentialEC2))
	if err != nil {
		return nil, err
	}
	out := make([]EC2Credential, 0, len(list))
	for i := range list {
		v, err := ReadEC2(&list[i])
		if err != nil {
			return nil, err
		}
		out = append(out, *v)
	}
	return out, nil
}

// CreateEC2 makes a key pair for a user, who must have a role on the project,
// by a token (by) that may make it.
func (m *Manager) CreateEC2(ctx context.Context, by *identity.Token, userID, projectID string) (*EC2Credential, error) {
	p, err := m.store.Projects.Get(ctx, projectID)
	if err != nil {
		return nil, err
	}
	ids, err := m.roleIDs(ctx, userID, nil, p, nil, false)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, fault.Forbiddenf("You are not authorized to perform the requested action: the user has no role on project %s.", projectID)
	}
	blob, err := json.Marshal(ec2Blob{Access: NewID(), Secret: NewID()})
	if err != nil {
		return nil, err
	}
	c, err := m.CreateCredential(ctx, by, identity.Credential{UserID: userID, ProjectID: identity.Ref(projectID), Type: CredentialEC2, Blob: string(blob)})
	if err != nil {
		return nil, err
	}
	return ReadEC2(c)
}

// SignatureKind says how a request was signed.
type SignatureKind string

// The kinds: EC2's query signatures (versions 0, 1, 2 and 4), and S3's, whose
// string to sign comes along.
const (
	SignatureEC2 SignatureKind = "ec2"
	SignatureS3  SignatureKind = "s3"
)

// Signed is a request that somebody signed.
type Signed struct {
	Access    string            `json:"access"`
	Signature string            `json:"signature"`
	Token     string            `json:"token"` // S3: the string to sign, in base64
	Host      string            `json:"host"`
	Verb      string            `json:"verb"`
	Path      string            `json:"path"`
	Params    map[string]string `json:"params"`
	Headers   map[string]string `json:"headers"`
	BodyHash  string            `json:"body_hash"`
}

// AuthenticateSigned makes a token of who signed a request, if the signature
// is right and fresh ([credential] auth_ttl). The token is of the credential's
// project, and no more than the delegation that made the credential.
func (m *Manager) AuthenticateSigned(ctx context.Context, kind SignatureKind, s Signed) (string, *identity.Token, error) {
	if s.Access == "" || s.Signature == "" {
		return "", nil, unauthenticated("no signature")
	}
	c, err := gone(m.Credential(ctx, EC2ID(s.Access)))
	if err != nil {
		return "", nil, err
	}
	if c == nil || c.Type != CredentialEC2 {
		return "", nil, unauthenticated("no such credential")
	}
	var b ec2Blob
	if err := json.Unmarshal([]byte(c.Blob), &b); err != nil {
		return "", nil, fmt.Errorf("blob of credential %s: %w", c.ID, err)
	}
	if kind == SignatureS3 {
		err = checkS3(s, b.Secret)
	} else {
		err = checkEC2(s, b.Secret)
	}
	if err != nil {
		return "", nil, err
	}
	if err := m.fresh(kind, s); err != nil {
		return "", nil, err
	}
	pay, err := m.signedPayload(ctx, c, &b)
	if err != nil {
		return "", nil, err
	}
	return m.issue(ctx, pay)
}

func (m *Manager) signedPayload(ctx context.Context, c *identity.Credential, b *ec2Blob) (*token.Payload, error) {
	now := m.now()
	pay := &token.Payload{
		UserID: c.UserID, ProjectID: string(c.ProjectID), Methods: []string{identity.MethodPassword},
		AuditIDs: []string{token.NewAuditID()}, IssuedAt: now, ExpiresAt: now.Add(m.cfg.TokenLife()),
	}
	switch {
	case b.TrustID != "":
		t, err := m.activeTrust(ctx, b.TrustID)
		if err != nil {
			return nil, err
		}
		pay.TrustID = t.ID
		if t.ExpiresAt != nil && t.ExpiresAt.Before(pay.ExpiresAt) {
			pay.ExpiresAt = *t.ExpiresAt
		}
	case b.AppCredID != "":
		a, err := m.store.AppCredentials.Get(ctx, b.AppCredID)
		if err != nil {
			return nil, notFoundAs(err, "the application credential is gone")
		}
		pay.AppCredID = a.ID
		if a.ExpiresAt != nil && a.ExpiresAt.Before(pay.ExpiresAt) {
			pay.ExpiresAt = *a.ExpiresAt
		}
	case b.AccessTokenID != "":
		pay.AccessTokenID = b.AccessTokenID
	}
	return pay, nil
}

func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

func sum(h func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(h, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// checkS3 checks a signature over the string to sign: version 4's if that
// begins with its name, else version 2's.
func checkS3(s Signed, secret string) error {
	b, err := base64.URLEncoding.DecodeString(s.Token)
	if err != nil {
		if b, err = base64.StdEncoding.DecodeString(s.Token); err != nil {
			return fault.Invalidf("The token is not base64.")
		}
	}
	text := string(b)
	if strings.HasPrefix(text, "AWS4-HMAC-SHA256\n") {
		lines := strings.Split(text, "\n")
		if len(lines) != 4 {
			return unauthenticated("the string to sign is malformed")
		}
		key, err := v4Key(secret, lines[2])
		if err != nil || !equal(hex.EncodeToString(sum(sha256.New, key, text)), s.Signature) {
			return unauthenticated("wrong signature")
		}
		return nil
	}
	if !equal(base64.StdEncoding.EncodeToString(sum(sha1.New, []byte(secret), text)), s.Signature) {
		return unauthenticated("wrong signature")
	}
	return nil
}

// v4Key derives the key of a scope "date/region/service/aws4_request".
func v4Key(secret, scope string) ([]byte, error) {
	parts := strings.Split(scope, "/")
	if len(parts) != 4 {
		return nil, unauthenticated("the credential scope is malformed")
	}
	key := []byte("AWS4" + secret)
	for _, p := range parts {
		key = sum(sha256.New, key, p)
	}
	return key, nil
}

// checkEC2 checks a query signature.
// Source: https://docs.aws.amazon.com/general/latest/gr/signature-version-2.html and -4.
func checkEC2(s Signed, secret string) error {
	if auth := header(s.Headers, "Authorization"); strings.HasPrefix(auth, "AWS4-HMAC-SHA256") || s.Params["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256" {
		want, err := v4Signature(s, secret, auth)
		if err != nil || !equal(want, s.Signature) {
			return unauthenticated("wrong signature")
		}
		return nil
	}
	hosts := []string{s.Host}
	if h, _, ok := strings.Cut(s.Host, ":"); ok { // some clients sign the host without its port
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		want, err := v2Signature(s, secret, h)
		if err == nil && equal(want, s.Signature) {
			return nil
		}
	}
	return unauthenticated("wrong signature")
}

func header(h map[string]string, name string) string {
	for k, v := range h {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

func v2Signature(s Signed, secret, host string) (string, error) {
	method := sha1.New
	switch s.Params["SignatureVersion"] {
	case "2":
	default: // versions 0 and 1 sign only parts of the request
		return "", unauthenticated("signature version")
	}
	if s.Params["SignatureMethod"] == "HmacSHA256" {
		method = sha256.New
	}
	text := s.Verb + "\n" + host + "\n" + s.Path + "\n" + canonicalQuery(s.Params, "Signature")
	return base64.StdEncoding.EncodeToString(sum(method, []byte(secret), text)), nil
}

func canonicalQuery(params map[string]string, except string) string {
	keys := make([]string, 0, len(params))
	for k := range params {
		if k != except {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = escape(k) + "=" + escape(params[k])
	}
	return strings.Join(parts, "&")
}

// escape is RFC 3986's percent encoding.
func escape(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(s))
}

func v4Signature(s Signed, secret, auth string) (string, error) {
	scope, signed := s.Params["X-Amz-Credential"], s.Params["X-Amz-SignedHeaders"]
	date := s.Params["X-Amz-Date"]
	params := s.Params
	if auth != "" {
		for part := range strings.SplitSeq(strings.TrimPrefix(auth, "AWS4-HMAC-SHA256"), ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch k {
			case "Credential":
				scope = v
			case "SignedHeaders":
				signed = v
			}
		}
		date = header(s.Headers, "X-Amz-Date")
		if s.Verb == "POST" { // the parameters are in the body, which is signed by its hash
			params = nil
		}
	}
	_, scope, ok := strings.Cut(scope, "/")
	if !ok || date == "" {
		return "", unauthenticated("the signature is malformed")
	}
	var heads strings.Builder
	for name := range strings.SplitSeq(signed, ";") {
		heads.WriteString(strings.ToLower(name) + ":" + strings.TrimSpace(header(s.Headers, name)) + "\n")
	}
	request := s.Verb + "\n" + s.Path + "\n" + canonicalQuery(params, "X-Amz-Signature") + "\n" + heads.String() + "\n" + signed + "\n" + s.BodyHash
	digest := sha256.Sum256([]byte(request))
	key, err := v4Key(secret, scope)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum(sha256.New, key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hex.EncodeToString(digest[:]))), nil
}

// fresh refuses a signature that is too old, or of a time to come, so that
// one that was overheard is soon worth nothing (CVE-2020-12692).
func (m *Manager) fresh(kind SignatureKind, s Signed) error {
	at, ok := signedAt(kind, s)
	if !ok {
		return unauthenticated("the signature has no time")
	}
	ttl := time.Duration(m.cfg.Credential.AuthTTL) * time.Minute
	if age := m.now().Sub(at); age > ttl || age < -ttl {
		return unauthenticated("the signature is too old")
	}
	return nil
}

func signedAt(kind SignatureKind, s Signed) (time.Time, bool) {
	var text string
	if kind == SignatureS3 {
		b, err := base64.URLEncoding.DecodeString(s.Token)
		if err != nil {
			b, _ = base64.StdEncoding.DecodeString(s.Token)
		}
		lines := strings.Split(string(b), "\n")
		switch {
		case strings.HasPrefix(string(b), "AWS4-HMAC-SHA256\n") && len(lines) > 1:
			text = lines[1]
		case len(lines) > 3: // verb, MD5, type, date
			text = lines[3]
			for _, l := range lines {
				if v, ok := strings.CutPrefix(strings.ToLower(l), "x-amz-date:"); ok {
					text = strings.ToUpper(v[:min(1, len(v))]) + l[len("x-amz-date:")+min(1, len(v)):]
				}
			}
		}
	} else {
		for _, v := range []string{s.Params["Timestamp"], s.Params["X-Amz-Date"], header(s.Headers, "X-Amz-Date"), s.Params["Expires"]} {
			if v != "" {
				text = v
				break
			}
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "20060102T150405Z", time.RFC1123Z, time.RFC1123} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}
