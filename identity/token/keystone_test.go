package token

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// vectors were made by Keystone's own formatter
// (keystone.token.token_formatters, 2026.1) with a fixed key.
type vectors struct {
	Key     string   `json:"key"`
	Methods []string `json:"methods"`
	Tokens  []struct {
		Name    string `json:"name"`
		Payload string `json:"payload"`
		Token   string `json:"token"`
		Fields  struct {
			UserID    string   `json:"user_id"`
			Methods   []string `json:"methods"`
			System    string   `json:"system"`
			ProjectID string   `json:"project_id"`
			DomainID  string   `json:"domain_id"`
			ExpiresAt string   `json:"expires_at"`
			AuditIDs  []string `json:"audit_ids"`
			TrustID   string   `json:"trust_id"`
			Groups    []struct {
				ID string `json:"id"`
			} `json:"federated_group_ids"`
			ProviderID    string `json:"identity_provider_id"`
			ProtocolID    string `json:"protocol_id"`
			AccessTokenID string `json:"access_token_id"`
			AppCredID     string `json:"app_cred_id"`
			Thumbprint    string `json:"thumbprint"`
		} `json:"fields"`
	} `json:"tokens"`
}

func load(t *testing.T) (*vectors, *Maker) {
	t.Helper()
	b, err := os.ReadFile("testdata/keystone.json")
	if err != nil {
		t.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "1"), []byte(v.Key), 0o600); err != nil {
		t.Fatal(err)
	}
	return v, NewMaker(NewRepository(dir), v.Methods)
}

func TestKeystoneReadsAndWritesTheSame(t *testing.T) {
	v, m := load(t)
	seen := map[int]bool{}
	for _, x := range v.Tokens {
		expires, err := time.Parse(time.RFC3339Nano, x.Fields.ExpiresAt)
		if err != nil {
			t.Fatal(err)
		}
		f := x.Fields
		want := &Payload{
			UserID: f.UserID, Methods: f.Methods, ProjectID: f.ProjectID, DomainID: f.DomainID, System: f.System != "", TrustID: f.TrustID,
			AppCredID: f.AppCredID, AccessTokenID: f.AccessTokenID, ProviderID: f.ProviderID, ProtocolID: f.ProtocolID, Thumbprint: f.Thumbprint,
			AuditIDs: f.AuditIDs, IssuedAt: time.Unix(1700000000, 0).UTC(), ExpiresAt: expires,
		}
		for _, g := range f.Groups {
			want.GroupIDs = append(want.GroupIDs, g.ID)
		}
		got, err := m.Read(x.Token)
		if err != nil {
			t.Errorf("%s: read: %v", x.Name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: read (-want +got)\n%s", x.Name, diff)
		}
		b, err := want.marshal(v.Methods)
		if err != nil {
			t.Fatal(err)
		}
		if hex.EncodeToString(b) != x.Payload {
			t.Errorf("%s: wrote %x, Keystone writes %s", x.Name, b, x.Payload)
		}
		seen[want.version()] = true
		text, err := m.Make(want)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := m.Read(text); err != nil || cmp.Diff(want, again) != "" {
			t.Errorf("%s: round trip: %v", x.Name, err)
		}
	}
	if len(seen) != oauth2Credential+1 {
		t.Errorf("vectors cover %d versions of %d", len(seen), oauth2Credential+1)
	}
}

func TestMalformedTokensAreRefused(t *testing.T) {
	v, m := load(t)
	whole, err := hex.DecodeString(v.Tokens[4].Payload)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if _, err := unmarshal(whole[:i], v.Methods); err == nil {
			t.Errorf("a payload cut at %d was read", i)
		}
	}
	for _, text := range []string{"", "x", "gAAAAA", v.Tokens[0].Token[:40], v.Tokens[0].Token + "AAAA"} {
		if _, err := m.Read(text); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	b, err := os.ReadFile("testdata/keystone.json")
	if err != nil {
		f.Fatal(err)
	}
	v := &vectors{}
	if err := json.Unmarshal(b, v); err != nil {
		f.Fatal(err)
	}
	for _, x := range v.Tokens {
		raw, _ := hex.DecodeString(x.Payload)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := unmarshal(b, v.Methods); err == nil && p == nil {
			t.Error("no payload and no error")
		}
	})
}
