package fernet

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// vector is one entry of the specification's published test files.
type vector struct {
	Desc   string
	Token  string
	Now    time.Time
	IV     []int
	TTL    int64 `json:"ttl_sec"`
	Src    string
	Secret string
}

func vectors(t *testing.T, file string) []vector {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatal(err)
	}
	return vs
}

func mustKey(t testing.TB, s string) Key {
	t.Helper()
	k, err := ParseKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestPublishedGenerate(t *testing.T) {
	for _, v := range vectors(t, "generate.json") {
		iv := make([]byte, len(v.IV))
		for i, b := range v.IV {
			iv[i] = byte(b)
		}
		got, err := seal(bytes.NewReader(iv), []byte(v.Src), v.Now, mustKey(t, v.Secret))
		if err != nil || got != v.Token {
			t.Errorf("seal(%q) = %q, %v; want %q", v.Src, got, err, v.Token)
		}
	}
}

func TestPublishedVerify(t *testing.T) {
	for _, v := range vectors(t, "verify.json") {
		for _, token := range []string{v.Token, strings.TrimRight(v.Token, "=")} {
			got, err := OpenTTL(token, time.Duration(v.TTL)*time.Second, v.Now, mustKey(t, v.Secret))
			if err != nil || string(got) != v.Src {
				t.Errorf("OpenTTL(%q) = %q, %v; want %q", token, got, err, v.Src)
			}
		}
	}
}

func TestPublishedInvalid(t *testing.T) {
	want := map[string]error{
		"incorrect mac":  ErrMAC,
		"too short":      ErrMalformed,
		"invalid base64": ErrMalformed,
		"payload size not multiple of block size": ErrMalformed,
		"payload padding error":                   ErrMalformed,
		"far-future TS (unacceptable clock skew)": ErrFuture,
		"expired TTL":                             ErrExpired,
		"incorrect IV (causes padding error)":     ErrMalformed,
	}
	for _, v := range vectors(t, "invalid.json") {
		got, err := OpenTTL(v.Token, time.Duration(v.TTL)*time.Second, v.Now, mustKey(t, v.Secret))
		if !errors.Is(err, want[v.Desc]) || got != nil {
			t.Errorf("%s: got %q, %v; want %v", v.Desc, got, err, want[v.Desc])
		}
	}
}

func TestRotation(t *testing.T) {
	var keys []Key
	for range 3 {
		k, err := GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	made := time.Date(2026, 11, 21, 12, 0, 0, 999, time.UTC)
	token, err := Seal([]byte("payload"), made, keys[2])
	if err != nil {
		t.Fatal(err)
	}
	got, at, err := Open(token, keys...)
	if err != nil || string(got) != "payload" || !at.Equal(made.Truncate(time.Second)) {
		t.Errorf("Open with the third key = %q, %v, %v", got, at, err)
	}
	if _, _, err := Open(token, keys[:2]...); !errors.Is(err, ErrMAC) {
		t.Errorf("Open without its key = %v, want ErrMAC", err)
	}
	if _, _, err := Open(token); !errors.Is(err, ErrMAC) {
		t.Errorf("Open with no key = %v, want ErrMAC", err)
	}
	if ts, err := Timestamp(token); err != nil || !ts.Equal(at) {
		t.Errorf("Timestamp = %v, %v, want %v", ts, err, at)
	}
}

func TestEveryAlteredByteIsRefused(t *testing.T) {
	k := mustKey(t, "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
	token, err := Seal([]byte("seventeen bytes.."), time.Unix(1e9, 0), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := base64.URLEncoding.DecodeString(token)
	for i := range raw {
		raw[i] ^= 1
		if _, _, err := Open(base64.URLEncoding.EncodeToString(raw), k); err == nil {
			t.Errorf("token with byte %d altered was accepted", i)
		}
		raw[i] ^= 1
	}
}

func TestOneTextPerToken(t *testing.T) {
	k := mustKey(t, "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
	token, err := Seal([]byte("x"), time.Unix(1e9, 0), k)
	if err != nil {
		t.Fatal(err)
	}
	// 73 bytes: the last base64 character has four unused bits.
	body := strings.TrimRight(token, "=")
	last := body[len(body)-1]
	for _, bad := range []string{
		body[:8] + "\n" + body[8:],
		body[:len(body)-1] + string(last+1),
		body + strings.Repeat("A", MaxTokenSize),
		"",
	} {
		if _, _, err := Open(bad, k); err == nil {
			t.Errorf("Open accepted %.40q…", bad)
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	const secret = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
	k := mustKey(t, secret)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("made", "key", k)
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%+v %#v %x", k, k, k), log.String()} {
		if strings.Contains(s, secret[:8]) || strings.Contains(s, "730ff4") || strings.Contains(s, "115 15") {
			t.Errorf("key printed: %s", s)
		}
	}
	if k.Encode() != secret {
		t.Errorf("Encode = %q", k.Encode())
	}
	for _, bad := range []string{"", "short", secret + "AAAA", strings.Repeat("%", 44)} {
		if _, err := ParseKey(bad); !errors.Is(err, ErrKey) || (bad != "" && strings.Contains(err.Error(), bad)) {
			t.Errorf("ParseKey(%q) = %v", bad, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	k := mustKey(f, "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
	// The fuzzing workers are processes: a fixed IV gives all the same token.
	good, err := seal(bytes.NewReader(make([]byte, 16)), []byte("hello"), time.Unix(1e9, 0), k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==")
	f.Fuzz(func(t *testing.T, token string) {
		payload, made, err := Open(token, k)
		if err == nil && strings.TrimRight(token, "=") != strings.TrimRight(good, "=") {
			t.Fatalf("forged token opened: %q at %v", payload, made)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	k := mustKey(f, "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=")
	f.Add([]byte("hello"), int64(1e9))
	f.Fuzz(func(t *testing.T, payload []byte, at int64) {
		if len(payload) > 8<<10 {
			t.Skip()
		}
		token, err := Seal(payload, time.Unix(at, 0), k)
		if err != nil {
			t.Fatal(err)
		}
		got, made, err := Open(strings.TrimRight(token, "="), k)
		if err != nil || !bytes.Equal(got, payload) || made.Unix() != at {
			t.Fatalf("Open(Seal(%q, %d)) = %q, %d, %v", payload, at, got, made.Unix(), err)
		}
	})
}
