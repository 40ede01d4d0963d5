package password

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The hashes were made by passlib 1.7.4, with which Keystone makes its own.
func TestKeystoneHashes(t *testing.T) {
	b, err := os.ReadFile("testdata/passlib.json")
	if err != nil {
		t.Fatal(err)
	}
	var hashes map[string]string
	if err := json.Unmarshal(b, &hashes); err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, stored := range hashes {
		right := "pässword"
		if name == "bcrypt_long" {
			right = strings.Repeat("x", 100) // cut at 72 bytes, as Keystone does
		}
		for pw, want := range map[string]bool{right: true, "pässwort": false, "": false} {
			if ok, err := h.Verify(pw, stored); err != nil || ok != want {
				t.Errorf("%s: %q: %v %v", name, pw, ok, err)
			}
		}
	}
}

func TestHashAndVerify(t *testing.T) {
	for alg, c := range map[string]struct {
		rounds int
		prefix string
	}{Bcrypt: {4, "$2b$04$"}, Scrypt: {4, "$scrypt$ln=4,r=8,p=1$"}, PBKDF2SHA512: {100, "$pbkdf2-sha512$100$"}} {
		h, err := New(Options{Algorithm: alg, Rounds: c.rounds})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := h.Hash("secret")
		if err != nil || !strings.HasPrefix(stored, c.prefix) || len(stored) > 255 {
			t.Fatalf("%s: %q %v", alg, stored, err)
		}
		if ok, err := h.Verify("secret", stored); !ok || err != nil {
			t.Errorf("%s: the right password: %v %v", alg, ok, err)
		}
		if ok, err := h.Verify("Secret", stored); ok || err != nil {
			t.Errorf("%s: a wrong password: %v %v", alg, ok, err)
		}
	}
	h, _ := New(Options{})
	for _, bad := range []string{"", "plain", "$scrypt$ln=99,r=8,p=1$a$b", "$pbkdf2-sha512$x$a$b", "$pbkdf2-sha512$1$a$", "$bcrypt-sha256$v=1$a$b"} {
		if ok, err := h.Verify("plain", bad); ok || err == nil {
			t.Errorf("stored %q: %v %v", bad, ok, err)
		}
	}
	if _, err := New(Options{Algorithm: "md5"}); err == nil {
		t.Error("md5 was accepted")
	}
}
