package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/host"
)

// wanted are the packages whose files go into the guest; the shared libraries
// they need are found from them.
var wanted = []string{"busybox", "busybox-static", "dropbear-bin", "e2fsprogs", "sudo", "util-linux", "zlib1g"}

// kernelMeta depends on the newest kernel of the release.
const kernelMeta = "linux-image-cloud-amd64"

// pkg is one package file as apt would fetch it.
type pkg struct {
	name   string
	file   string // name that apt gives the file
	sha256 string
}

var (
	kernelName = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-[0-9][^\s]*)$`)
	uriLine    = regexp.MustCompile(`^'[^']*' (\S+_(?:amd64|all)\.deb) \d+ SHA256:([0-9a-f]{64})`)
)

// resolve finds the concrete packages, from apt's lists, without downloading.
func resolve(ctx context.Context) ([]pkg, error) {
	out, err := apt(ctx, "", "apt-cache", "depends", kernelMeta)
	if err != nil {
		return nil, err
	}
	m := kernelName.FindSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("%s names no kernel; is this Debian on amd64?", kernelMeta)
	}
	names := append([]string{string(m[1])}, wanted...)
	args := append([]string{
		"depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances",
	}, wanted...)
	if out, err = apt(ctx, "", "apt-cache", args...); err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.HasPrefix(line, "lib") && !strings.Contains(line, "perl") && !slices.Contains(names, line) {
			names = append(names, line)
		}
	}
	if out, err = apt(ctx, "", "apt-get", append([]string{"download", "--print-uris"}, names...)...); err != nil {
		return nil, err
	}
	var pkgs []pkg
	for _, line := range strings.Split(string(out), "\n") {
		if m := uriLine.FindStringSubmatch(line); m != nil {
			name, _, _ := strings.Cut(m[1], "_")
			pkgs = append(pkgs, pkg{name: name, file: m[1], sha256: m[2]})
		}
	}
	if len(pkgs) < len(wanted)+1 {
		return nil, errors.New("apt knows too few of the packages; run apt-get update")
	}
	slices.SortFunc(pkgs, func(a, b pkg) int { return strings.Compare(a.file, b.file) })
	// The static busybox comes before the dynamic one; see unpack.
	slices.SortStableFunc(pkgs, func(a, b pkg) int {
		return btoi(b.name == "busybox-static") - btoi(a.name == "busybox-static")
	})
	return pkgs, nil
}

// download fetches the packages that dir does not hold yet, and verifies all.
func download(ctx context.Context, dir string, pkgs []pkg) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"download", "-q"}
	for _, p := range pkgs {
		if p.verify(dir) != nil {
			args = append(args, p.name)
		}
	}
	if len(args) > 2 {
		if _, err := apt(ctx, dir, "apt-get", args...); err != nil {
			return err
		}
	}
	for _, p := range pkgs {
		if err := p.verify(dir); err != nil {
			return err
		}
	}
	return nil
}

// verify compares the file in dir with the digest in apt's signed lists.
func (p pkg) verify(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, p.file))
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != p.sha256 {
		return fmt.Errorf("%s is damaged", p.file)
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func apt(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	return host.Run(ctx, host.Command{
		Path: name, Args: args, Dir: dir, Timeout: 5 * time.Minute,
		Env: append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"),
	})
}
