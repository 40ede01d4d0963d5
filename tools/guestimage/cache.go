package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// stamp names the file that says from what an output was built.
func stamp(file string) string {
	return filepath.Join(filepath.Dir(file), "."+filepath.Base(file)+".key")
}

// cacheKey is a digest of all that an image is made of: the packages, the
// scripts and the builder.
func cacheKey(pkgs []pkg) (string, error) {
	h := sha256.New()
	for _, p := range pkgs {
		fmt.Fprintln(h, p.file, p.sha256)
	}
	for _, tree := range []fs.FS{scripts, sources} {
		err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := fs.ReadFile(tree, path)
			fmt.Fprintf(h, "%s %x\n", path, sha256.Sum256(b))
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// fresh reports whether every file exists and was built from key.
func fresh(files []string, key string) bool {
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return false
		}
		b, err := os.ReadFile(stamp(f))
		if err != nil || string(bytes.TrimSpace(b)) != key {
			return false
		}
	}
	return true
}
