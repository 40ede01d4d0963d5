package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/host"
)

// authorityKey is the file that only control nodes have.
const authorityKey = "pki/ca-key.pem"

// shareControl is what another control node gets: it is then this one's equal.
func (s *System) shareControl(ctx context.Context) (*cluster.ControlDocument, error) {
	d := &cluster.ControlDocument{Secrets: map[string]string{}, Database: s.o.Config.Database.Connection, Bus: s.o.Config.Bus.URL}
	for _, name := range []string{"secrets.json", authorityKey} {
		b, err := os.ReadFile(s.state.Path(name))
		if err != nil {
			return nil, err
		}
		d.Secrets[name] = string(b)
	}
	k, err := s.shareKeys(ctx, "")
	if err != nil {
		return nil, err
	}
	d.Keys = *k
	return d, nil
}

// shareKeys is what other control nodes ask for after a rotation.
func (s *System) shareKeys(_ context.Context, have string) (*cluster.Keys, error) {
	k, err := s.readKeys()
	if err != nil {
		return nil, err
	}
	if k.Digest == have {
		k.Files = nil
	}
	return k, nil
}

// repositories are identity's key folders by the name under which they travel.
// Those for signed tokens are among them wherever they are, so that all control
// nodes have the same before one of them begins to sign.
func (s *System) repositories() map[string]string {
	c := s.identityConfig()
	out := map[string]string{"fernet": c.FernetTokens.KeyRepository, "credential": c.Credential.KeyRepository}
	if dir := c.FernetReceipts.KeyRepository; dir != "" {
		out["receipt"] = dir
	}
	out["jws-private"], out["jws-public"] = c.JWTTokens.PrivateKeyRepository, c.JWTTokens.PublicKeyRepository
	return out
}

// isKey reports whether a file of a repository is a key: a number, or for
// signatures NAME.pem.
func isKey(repository, name string) bool {
	if !strings.HasPrefix(repository, "jws-") {
		n, err := strconv.Atoi(name)
		return err == nil && n >= 0 && strconv.Itoa(n) == name
	}
	base, ok := strings.CutSuffix(name, ".pem")
	return ok && base != "" && len(name) < 200 && !strings.HasPrefix(base, ".") && !strings.ContainsAny(base, "/\\\x00")
}

// readKeys reads the key files.
func (s *System) readKeys() (*cluster.Keys, error) {
	k := &cluster.Keys{Files: map[string]string{}}
	for name, dir := range s.repositories() {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if !isKey(name, e.Name()) || !e.Type().IsRegular() {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			k.Files[name+"/"+e.Name()] = string(b)
		}
	}
	k.Digest = digestOf(k.Files)
	return k, nil
}

func digestOf(files map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		_, _ = fmt.Fprintf(h, "%s %d\n%s\n", name, len(files[name]), files[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeKeys makes the key folders equal to what was received. New keys come
// first and old ones go last, so that whoever reads meanwhile can open all
// that others seal.
func (s *System) writeKeys(k *cluster.Keys) error {
	if digestOf(k.Files) != k.Digest {
		return errors.New("the keys of another control node came damaged")
	}
	all := s.repositories()
	names := slices.Sorted(maps.Keys(all))
	slices.Reverse(names) // public keys before the private one that they check
	for _, name := range names {
		if err := writeRepository(all[name], name+"/", k.Files); err != nil {
			return fmt.Errorf("keys of %s: %w", name, err)
		}
	}
	return nil
}

func writeRepository(dir, prefix string, files map[string]string) error {
	repository := strings.TrimSuffix(prefix, "/")
	want := map[string]string{}
	for path, text := range files {
		if name, ok := strings.CutPrefix(path, prefix); ok {
			if !isKey(repository, name) {
				return fmt.Errorf("%q is no key", path)
			}
			want[name] = text
		}
	}
	if len(want) == 0 {
		return nil // the other has no such folder
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := host.LockDir(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	names := slices.SortedFunc(maps.Keys(want), func(a, b string) int { // the staged key, 0, last
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(a, b))
	})
	for _, name := range names {
		file := filepath.Join(dir, name)
		if have, err := os.ReadFile(file); err == nil && string(have) == want[name] {
			continue
		}
		if err := host.WriteFile(file, []byte(want[name]), 0o600); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if isKey(repository, e.Name()) && want[e.Name()] == "" {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
