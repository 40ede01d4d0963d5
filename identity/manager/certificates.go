package manager

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/mapping"
	"github.com/tropocloud/tropo/identity/token"
)

// attributeName is what an attribute of a distinguished name is called: in
// the name itself (RFC 4514), and as mod_ssl's variables end.
type attributeName struct{ short, variable string }

// attributeNames are the known ones by object identifier.
func attributeNames(oid string) attributeName {
	names := map[string]attributeName{
		"2.5.4.3": {"CN", "CN"}, "2.5.4.4": {"SN", "S"}, "2.5.4.5": {"serialNumber", "serialNumber"}, "2.5.4.6": {"C", "C"}, "2.5.4.7": {"L", "L"},
		"2.5.4.8": {"ST", "ST"}, "2.5.4.9": {"street", "street"}, "2.5.4.10": {"O", "O"}, "2.5.4.11": {"OU", "OU"}, "2.5.4.12": {"title", "T"},
		"2.5.4.42": {"GN", "G"}, "2.5.4.43": {"initials", "I"}, "0.9.2342.19200300.100.1.1": {"UID", "UID"},
		"0.9.2342.19200300.100.1.25": {"DC", "DC"}, "1.2.840.113549.1.9.1": {"emailAddress", "Email"},
	}
	if n, ok := names[oid]; ok {
		return n
	}
	return attributeName{oid, oid}
}

// distinguished is a name as text (RFC 4514: the last part first), and its
// attributes in the certificate's order.
func distinguished(raw []byte) (string, []pkix.AttributeTypeAndValue, error) {
	var seq pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &seq); err != nil || len(rest) > 0 {
		return "", nil, fault.Wrap(fault.Unauthenticated, err, "The request you have made requires authentication.")
	}
	var all []pkix.AttributeTypeAndValue
	parts := make([]string, len(seq))
	for i, set := range seq {
		values := make([]string, len(set))
		for j, a := range set {
			all = append(all, a)
			values[j] = attributeNames(a.Type.String()).short + "=" + escapeName(fmt.Sprint(a.Value))
		}
		parts[len(seq)-1-i] = strings.Join(values, "+")
	}
	return strings.Join(parts, ","), all, nil
}

// escapeName escapes a value of a distinguished name (RFC 4514, section 2.4).
func escapeName(s string) string {
	var b strings.Builder
	for i, r := range s {
		first, last := i == 0, i == len(s)-1
		switch {
		case strings.ContainsRune(`,+"\<>;`, r), r == '#' && first, r == ' ' && (first || last):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\%02X`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// certificateAttributes are the attributes of a certificate as mappings know
// them: mod_ssl's variables, and those of OAuth2's mappings. One that stands
// there more than once has no value among the latter, and one with ';' none at
// all: mappings take that for a list.
func certificateAttributes(c *x509.Certificate) (map[string]string, error) {
	out := map[string]string{"SSL_CLIENT_M_SERIAL": strings.ToUpper(c.SerialNumber.Text(16))}
	for _, side := range []struct {
		raw         []byte
		short, long string
	}{{c.RawSubject, "SSL_CLIENT_S_DN", "SSL_CLIENT_SUBJECT_DN"}, {c.RawIssuer, "SSL_CLIENT_I_DN", "SSL_CLIENT_ISSUER_DN"}} {
		text, attrs, err := distinguished(side.raw)
		if err != nil {
			return nil, err
		}
		out[side.short] = text
		seen := map[string]int{}
		for _, a := range attrs {
			n, v := attributeNames(a.Type.String()), fmt.Sprint(a.Value)
			long, i := side.long+"_"+strings.ToUpper(n.short), seen[n.short]
			seen[n.short]++
			if i > 0 {
				delete(out, long)
			}
			if strings.Contains(v, ";") {
				continue
			}
			if i == 0 {
				out[side.short+"_"+n.variable], out[long] = v, v
			}
			out[fmt.Sprintf("%s_%s_%d", side.short, n.variable, i)] = v
		}
	}
	for i, v := range c.EmailAddresses {
		out[fmt.Sprintf("SSL_CLIENT_SAN_Email_%d", i)] = v
	}
	for i, v := range c.DNSNames {
		out[fmt.Sprintf("SSL_CLIENT_SAN_DNS_%d", i)] = v
	}
	return out, nil
}

// TokenlessEnabled reports whether any certificate may stand for a token.
func (m *Manager) TokenlessEnabled() bool { return len(m.cfg.TokenlessAuth.TrustedIssuers) > 0 }

// Tokenless makes a token for one request of a client whose certificate a
// trusted issuer made ([tokenless_auth]). The caller has verified it. It is
// fault.Unauthenticated where the certificate stands for nobody.
func (m *Manager) Tokenless(ctx context.Context, c *x509.Certificate, s Scope) (string, error) {
	o := &m.cfg.TokenlessAuth
	if len(o.TrustedIssuers) == 0 {
		return "", unauthenticated("no issuer is trusted")
	}
	attrs, err := certificateAttributes(c)
	if err != nil {
		return "", err
	}
	issuer := attrs[o.IssuerAttribute]
	if issuer == "" || !slices.Contains(o.TrustedIssuers, issuer) {
		return "", unauthenticated("the issuer is not trusted")
	}
	if !s.HasProject && !s.HasDomain {
		return "", fault.Invalidf("Expecting to find project or domain in scope.")
	}
	provider := sha256.Sum256([]byte(issuer))
	text, _, err := m.Authenticate(ctx, AuthRequest{
		Methods: []string{identity.MethodMapped}, Scope: s,
		Mapped: &MappedProof{ProviderID: hex.EncodeToString(provider[:]), ProtocolID: o.Protocol, Assertion: attrs},
	})
	return text, err
}

// OAuth2Allows reports whether clients of OAuth2 may authenticate so.
func (m *Manager) OAuth2Allows(method string) bool {
	return slices.Contains(m.cfg.OAuth2.AuthnMethods, method)
}

// The ways in which a client of OAuth2 authenticates (RFC 6749, RFC 8705).
const (
	OAuth2Secret      = "client_secret_basic"
	OAuth2Certificate = "tls_client_auth"
)

// ClientToken makes a token that is bound to a client's certificate (RFC 8705,
// section 3), for the user whose id the client names and whom the mapping
// finds in the certificate, on the user's default project. The caller has
// verified the certificate. Whatever does not fit is fault.Unauthenticated.
func (m *Manager) ClientToken(ctx context.Context, clientID string, c *x509.Certificate) (string, *identity.Token, error) {
	v, err := m.store.Mappings.Get(ctx, m.cfg.OAuth2.CertDNMappingID)
	if err != nil {
		return "", nil, notFoundAs(err, "there is no mapping of certificates")
	}
	rules, err := checkRules(v)
	if err != nil {
		return "", nil, err
	}
	attrs, err := certificateAttributes(c)
	if err != nil {
		return "", nil, err
	}
	res, ok := rules.Apply(attrs)
	if !ok {
		return "", nil, unauthenticated("the mapping knows no user for the certificate")
	}
	u, domain, err := m.activeUser(ctx, clientID)
	if err != nil {
		return "", nil, err
	}
	if !fits(&res.User, u, domain) || u.DefaultProjectID == "" {
		return "", nil, unauthenticated("the certificate is not that of the client, or the user has no default project")
	}
	now := m.now()
	return m.issue(ctx, &token.Payload{
		UserID: u.ID, ProjectID: string(u.DefaultProjectID), Methods: []string{token.MethodOAuth2}, Thumbprint: Thumbprint(c),
		AuditIDs: []string{token.NewAuditID()}, IssuedAt: now, ExpiresAt: now.Add(m.cfg.TokenLife()),
	})
}

// fits reports whether all that a mapping found is the user's, and that it
// found whom: by id, or by name and domain.
func fits(got *mapping.User, u *identity.User, domain *identity.Project) bool {
	email, _ := u.Extra["email"].(string)
	same := func(got, want string) bool { return got == "" || got == want }
	var d mapping.Domain
	if got.Domain != nil {
		d = *got.Domain
	}
	known := got.ID != "" || got.Name != "" && (d.ID != "" || d.Name != "")
	return known && same(got.ID, u.ID) && same(got.Name, u.Name) && same(got.Email, email) && same(d.ID, domain.ID) && same(d.Name, domain.Name)
}

// Thumbprint names a certificate in a token that is bound to it. It is the
// digest of the PEM text, as OpenStack's middleware computes it (RFC 8705 has
// that of the DER form).
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	return base64.URLEncoding.EncodeToString(sum[:])
}
