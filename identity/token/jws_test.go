package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// payloads are one of each kind of token.
func payloads() map[string]Payload {
	const user, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	base := Payload{UserID: user, Methods: []string{"password"}, AuditIDs: []string{NewAuditID()}, IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
	with := func(f func(p *Payload)) Payload { p := base; f(&p); return p }
	return map[string]Payload{
		"unscoped": base,
		"chain":    with(func(p *Payload) { p.AuditIDs = append(p.AuditIDs, NewAuditID()) }),
		"project":  with(func(p *Payload) { p.ProjectID = other }),
		"domain":   with(func(p *Payload) { p.DomainID = "default" }),
		"system":   with(func(p *Payload) { p.System = true }),
		"trust":    with(func(p *Payload) { p.ProjectID, p.TrustID = other, user }),
		"app cred": with(func(p *Payload) { p.ProjectID, p.AppCredID = other, user }),
		"oauth1":   with(func(p *Payload) { p.ProjectID, p.AccessTokenID = other, user }),
		"federated": with(func(p *Payload) {
			p.ProjectID, p.GroupIDs, p.ProviderID, p.ProtocolID = other, []string{user, other}, "idp", "saml2"
		}),
		"thumbprint": with(func(p *Payload) { p.ProjectID, p.Thumbprint = other, "abc=" }),
	}
}

func TestJWS(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	private, public := filepath.Join(dir, "private"), filepath.Join(dir, "public")
	if err := CreateJWSPair(ctx, private, public); err != nil {
		t.Fatal(err)
	}
	if err := CreateJWSPair(ctx, private, public); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second pair: %v", err)
	}
	j := NewJWS(private, public)
	for name, p := range payloads() {
		text, err := j.Make(&p)
		if err != nil {
			t.Fatal(err)
		}
		back, err := j.Read(text)
		if err != nil || !reflect.DeepEqual(*back, p) {
			t.Errorf("%s: %+v, want %+v: %v", name, back, p, err)
		}
		parts := strings.Split(text, ".")
		for i, want := range []string{`{"alg":"ES256","typ":"JWT"}`, ""} {
			b, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil || want != "" && string(b) != want {
				t.Errorf("%s: part %d is %s: %v", name, i, b, err)
			}
		}
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"admin","exp":9999999999,"iat":1,"openstack_audit_ids":["x"],"openstack_methods":["password"]}`))
		if _, err := j.Read(strings.Join(parts, ".")); !errors.Is(err, ErrToken) {
			t.Errorf("%s with other claims: %v", name, err)
		}
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"x"}`)) + "."
	for _, bad := range []string{"", "a.b.c", none, strings.Repeat("x", 1<<20)} {
		if _, err := j.Read(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	// Another's key is believed once its public half lies in the repository.
	other := t.TempDir()
	if err := CreateJWSPair(ctx, other, other); err != nil {
		t.Fatal(err)
	}
	p := payloads()["unscoped"]
	foreign, err := NewJWS(other, other+"/*").Make(&p)
	if err == nil || foreign != "" {
		t.Errorf("without public keys: %v", err)
	}
}

// The claims are named as Keystone's.
func TestJWSClaims(t *testing.T) {
	dir := t.TempDir()
	private, public := filepath.Join(dir, "private"), filepath.Join(dir, "public")
	if err := CreateJWSPair(context.Background(), private, public); err != nil {
		t.Fatal(err)
	}
	p := payloads()["federated"]
	text, err := NewJWS(private, public).Make(&p)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"sub": p.UserID, "iat": float64(p.IssuedAt.Unix()), "exp": float64(p.ExpiresAt.Unix()), "openstack_methods": []any{"password"},
		"openstack_audit_ids": []any{p.AuditIDs[0]}, "openstack_project_id": p.ProjectID, "openstack_idp_id": "idp", "openstack_protocol_id": "saml2",
		"openstack_group_ids": []any{map[string]any{"id": p.GroupIDs[0]}, map[string]any{"id": p.GroupIDs[1]}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
}

func TestReceipt(t *testing.T) {
	keys := NewRepository(t.TempDir())
	if err := keys.Setup(context.Background()); err != nil {
		t.Fatal(err)
	}
	r := NewReceipts(keys, []string{"external", "password", "token", "totp"})
	now := time.Now().UTC().Truncate(time.Second)
	v := Receipt{UserID: "0123456789abcdef0123456789abcdef", Methods: []string{"password"}, IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute)}
	text, err := r.Make(&v)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := r.Read(text); err != nil || !reflect.DeepEqual(*back, v) {
		t.Errorf("%+v, want %+v: %v", back, v, err)
	}
	token, err := NewMaker(keys, []string{"password"}).Make(&Payload{UserID: v.UserID, Methods: v.Methods, AuditIDs: []string{NewAuditID()}, IssuedAt: now, ExpiresAt: now})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", text[:len(text)-4], token} {
		if _, err := r.Read(bad); !errors.Is(err, ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A folder of keys that is being changed holds a lock.
func TestJWSPassesOverWhatIsNoKey(t *testing.T) {
	private, public := t.TempDir(), t.TempDir()
	if err := CreateJWSPair(context.Background(), private, public); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(public, ".lock"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := NewJWS(private, public).Make(&Payload{UserID: "u", Methods: []string{"password"}, AuditIDs: []string{"a"}, IssuedAt: now, ExpiresAt: now.Add(time.Hour)}); err != nil {
		t.Error(err)
	}
}
