package manager

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // TOTP's (RFC 6238), and Keystone's name of a key
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/lib/fernet"
)

// CredentialEC2 and CredentialTOTP are the types with a meaning of their own.
const (
	CredentialEC2  = "ec2"
	CredentialTOTP = "totp"
)

// seal encrypts a credential's blob with the primary key.
func (m *Manager) seal(c *identity.Credential, blob string) error {
	keys, err := m.crypt.Keys()
	if err != nil {
		return err
	}
	if c.Blob, err = fernet.Seal([]byte(blob), m.now(), keys[0]); err != nil {
		return err
	}
	c.KeyHash = keyHash(keys[0])
	return nil
}

// keyHash names a key in the rows that it encrypted, as Keystone does.
func keyHash(k fernet.Key) string {
	sum := sha1.Sum([]byte(k.Encode())) //nolint:gosec // a name, not a signature
	return hex.EncodeToString(sum[:])
}

// unseal decrypts the blobs of credentials in place.
func (m *Manager) unseal(list []identity.Credential) error {
	keys, err := m.crypt.Keys()
	if err != nil {
		return err
	}
	for i := range list {
		b, _, err := fernet.Open(list[i].Blob, keys...)
		if err != nil {
			return fmt.Errorf("decrypt credential %s: %w", list[i].ID, err)
		}
		list[i].Blob = string(b)
	}
	return nil
}

// Credential returns one credential in the clear.
func (m *Manager) Credential(ctx context.Context, id string) (*identity.Credential, error) {
	c, err := m.store.Credentials.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	list := []identity.Credential{*c}
	return &list[0], m.unseal(list)
}

// Credentials lists credentials in the clear.
func (m *Manager) Credentials(ctx context.Context, q identity.Query) ([]identity.Credential, error) {
	list, err := m.store.Credentials.List(ctx, q)
	if err != nil {
		return nil, err
	}
	return list, m.unseal(list)
}

// ec2Blob is what an EC2 credential holds. The last three say by which
// delegation it was made: a token made from it is worth no more.
type ec2Blob struct {
	Access        string `json:"access"`
	Secret        string `json:"secret"`
	TrustID       string `json:"trust_id,omitempty"`
	AppCredID     string `json:"app_cred_id,omitempty"`
	AccessTokenID string `json:"access_token_id,omitempty"`
}

// CreateCredential stores a credential. by is the caller's token: one of a
// delegation may only make what carries the delegation on, for its own
// project (threats 30, 31, 34).
func (m *Manager) CreateCredential(ctx context.Context, by *identity.Token, c identity.Credential) (*identity.Credential, error) {
	blob := c.Blob
	if c.Type == CredentialEC2 {
		if err := m.markEC2(by, &c, &blob); err != nil {
			return nil, err
		}
	} else {
		if err := forbidDelegated(by, "credentials"); err != nil {
			return nil, err
		}
		c.ID = rowID(ctx)
	}
	if limit := m.cfg.Credential.UserLimit; limit >= 0 {
		have, err := m.store.Credentials.List(ctx, identity.By("user_id", c.UserID))
		if err != nil {
			return nil, err
		}
		if len(have) >= limit {
			return nil, fault.Forbiddenf("Unable to create additional credentials, maximum of %d already exceeded for user.", limit)
		}
	}
	if err := m.seal(&c, blob); err != nil {
		return nil, err
	}
	if err := m.store.Credentials.Create(ctx, &c); err != nil {
		return nil, err
	}
	c.Blob = blob
	return &c, nil
}

// markEC2 checks an EC2 credential and writes into it by which delegation it
// was made, whatever the client wrote there.
func (m *Manager) markEC2(by *identity.Token, c *identity.Credential, blob *string) error {
	var b map[string]any
	if err := json.Unmarshal([]byte(*blob), &b); err != nil {
		return fault.Invalidf("Invalid blob in credential")
	}
	access, _ := b["access"].(string)
	if access == "" {
		return fault.Invalidf("Invalid blob in credential")
	}
	if c.ProjectID == "" {
		return fault.Invalidf("Invalid input for field/attribute project_id: an ec2 credential needs a project.")
	}
	delete(b, "trust_id")
	delete(b, "app_cred_id")
	delete(b, "access_token_id")
	if by != nil && by.Delegated() {
		if by.AppCred != nil && !by.AppCred.Unrestricted {
			return forbidDelegated(by, "credentials")
		}
		if by.Project == nil || string(c.ProjectID) != by.Project.ID || c.UserID != by.User.ID {
			return fault.Forbiddenf("A delegated token makes credentials for its own user and project alone.")
		}
		switch {
		case by.Trust != nil:
			b["trust_id"] = by.Trust.ID
		case by.AppCred != nil:
			b["app_cred_id"] = by.AppCred.ID
		default:
			b["access_token_id"] = by.AccessToken.ID
		}
	}
	text, err := json.Marshal(b)
	if err != nil {
		return err
	}
	*blob, c.ID = string(text), EC2ID(access)
	return nil
}

// UpdateCredential stores the differences of after to before, whose blobs are
// in the clear. Owner and project of a credential never change, as it would
// then prove something else than it was made for (threats 27, 34).
func (m *Manager) UpdateCredential(ctx context.Context, by *identity.Token, before, after *identity.Credential) error {
	if err := forbidDelegated(by, "credentials"); err != nil {
		return err
	}
	if by != nil && by.Delegated() {
		return fault.Forbiddenf("A delegated token may not change credentials.")
	}
	if after.UserID != before.UserID || after.ProjectID != before.ProjectID {
		return fault.Forbiddenf("You are not authorized to perform the requested action: change the user or the project of a credential.")
	}
	if (before.Type == CredentialEC2) != (after.Type == CredentialEC2) {
		return fault.Forbiddenf("You are not authorized to perform the requested action: change the type of an ec2 credential.")
	}
	blob := after.Blob
	if before.Type == CredentialEC2 && blob != before.Blob {
		if err := keepMarks(before.Blob, &blob); err != nil {
			return err
		}
	}
	stored, err := m.store.Credentials.Get(ctx, before.ID)
	if err != nil {
		return err
	}
	row := *after
	if err := m.seal(&row, blob); err != nil {
		return err
	}
	after.Blob = blob
	return m.store.Credentials.Update(ctx, before.ID, stored, &row)
}

// keepMarks refuses another access key, and restores what says by which
// delegation the credential was made.
func keepMarks(old string, blob *string) error {
	var was, is map[string]any
	if json.Unmarshal([]byte(old), &was) != nil || json.Unmarshal([]byte(*blob), &is) != nil {
		return fault.Invalidf("Invalid blob in credential")
	}
	for _, k := range []string{"access", "trust_id", "app_cred_id", "access_token_id"} {
		if is[k] != was[k] {
			return fault.Forbiddenf("%s can not be updated for credential", k)
		}
	}
	return nil
}

// DeleteCredential removes a credential.
func (m *Manager) DeleteCredential(ctx context.Context, by *identity.Token, id string) error {
	if err := forbidDelegated(by, "credentials"); err != nil {
		return err
	}
	return m.store.Credentials.Delete(ctx, id)
}

// RotateCredentialKeys stages a key and encrypts all credentials anew with the
// primary one.
func (m *Manager) RotateCredentialKeys(ctx context.Context) error {
	if err := m.MigrateCredentials(ctx); err != nil { // no row may need the key that goes
		return err
	}
	return m.crypt.Rotate(ctx, m.cfg.FernetTokens.MaxActiveKeys)
}

// MigrateCredentials encrypts the credentials of older keys with the primary.
func (m *Manager) MigrateCredentials(ctx context.Context) error {
	keys, err := m.crypt.Keys()
	if err != nil {
		return err
	}
	for {
		list, err := m.store.Credentials.List(ctx, identity.Query{Limit: 500, Filters: []identity.Filter{{Field: "key_hash", Op: identity.Not, Value: keyHash(keys[0])}}})
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			row := list[i]
			if err := m.unseal(list[i : i+1]); err != nil {
				return err
			}
			after := row
			if err := m.seal(&after, list[i].Blob); err != nil {
				return err
			}
			if err := m.store.Credentials.Update(ctx, row.ID, &row, &after); err != nil {
				return err
			}
		}
	}
}

// byTOTP takes a one-time password (RFC 6238, six digits, 30 seconds, this or
// the last period) as the proof, once.
func (m *Manager) byTOTP(ctx context.Context, p *proof, in *PasscodeProof) error {
	if in == nil {
		return unauthenticated("no passcode")
	}
	u, err := m.findUser(ctx, in.User)
	if err != nil {
		return err
	}
	if u == nil || m.rules.locked(u, m.now()) {
		return unauthenticated("no such user, or the user is locked")
	}
	seeds, err := m.Credentials(ctx, identity.By("user_id", u.ID).And("credential_type", CredentialTOTP))
	if err != nil {
		return err
	}
	for _, s := range seeds {
		for _, at := range []time.Time{m.now(), m.now().Add(-30 * time.Second)} {
			code, err := passcode(s.Blob, at)
			if err != nil || !hmac.Equal([]byte(code), []byte(in.Passcode)) {
				continue
			}
			if err := m.store.UseOnce(ctx, keyDigest(s.ID+"/"+code+"/"+fmt.Sprint(at.Unix()/30)), m.now().Add(5*time.Minute)); err != nil {
				return unauthenticated("the passcode was used before")
			}
			return p.is(u.ID)
		}
	}
	if m.rules.lockout > 0 {
		if err := m.store.AuthFailed(ctx, u.ID, m.now()); err != nil {
			return err
		}
	}
	return unauthenticated("wrong passcode")
}

func passcode(seed string, at time.Time) (string, error) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(strings.ToUpper(strings.TrimSpace(seed)), "="))
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, at.Unix()/30) // a hash takes everything
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1000000), nil
}
