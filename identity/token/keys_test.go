package token

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Name()[0] != '.' {
			out = append(out, e.Name())
		}
	}
	return out
}

// The layout and the order of events are Keystone's: 0 is staged, the highest
// is primary, and a token lives through the rotations that its key lives
// through.
func TestRotation(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	r := NewRepository(dir)
	if _, err := r.Keys(); err == nil {
		t.Error("an empty repository gave keys")
	}
	for range 2 {
		if err := r.Setup(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"0", "1"}) {
		t.Fatalf("after setup: %v", got)
	}
	m := NewMaker(r, []string{"password"})
	p := &Payload{UserID: "u", Methods: []string{"password"}, AuditIDs: []string{NewAuditID()}, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}
	text, err := m.Make(p)
	if err != nil {
		t.Fatal(err)
	}
	other := NewMaker(NewRepository(dir), []string{"password"}) // another process
	for i, want := range [][]string{{"0", "1", "2"}, {"0", "2", "3"}, {"0", "3", "4"}} {
		if err := r.Rotate(ctx, 3); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Fatalf("after rotation %d: %v, want %v", i+1, got, want)
		}
		other.keys.checked = time.Time{}
		for _, reader := range []*Maker{m, other} {
			if _, err := reader.Read(text); (err == nil) != (i == 0) {
				t.Errorf("after rotation %d: read gave %v", i+1, err)
			}
		}
	}
	keys, err := r.Keys()
	if err != nil || len(keys) != 3 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	if info, err := os.Stat(r.file(4)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v %v", info.Mode(), err)
	}
}
