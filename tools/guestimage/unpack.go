package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

const (
	busyboxPath = "/usr/bin/busybox"
	staticPath  = "/usr/bin/busybox.static"
)

// source is what the packages hold, by path; /bin, /sbin and /lib are merged
// into /usr as on an installed Debian.
type source struct {
	files   map[string][]byte
	links   map[string]string // symbolic links, absolute
	kernel  []byte
	modules []module // in the order in which they must be loaded
}

// unpack reads the packages' files into memory; nothing is installed.
func unpack(ctx context.Context, dir string, pkgs []pkg) (*source, error) {
	s := &source{files: map[string][]byte{}, links: map[string]string{}}
	for _, p := range pkgs {
		if err := s.add(ctx, filepath.Join(dir, p.file)); err != nil {
			return nil, fmt.Errorf("unpack %s: %w", p.file, err)
		}
		// Two packages hold /bin/busybox; the dynamic one keeps the name.
		if p.name == "busybox-static" {
			s.files[staticPath] = s.files[busyboxPath]
		}
	}
	for name, b := range s.files {
		if strings.HasPrefix(name, "/boot/vmlinuz-") {
			s.kernel = b
		}
	}
	if s.kernel == nil {
		return nil, errors.New("the kernel package holds no kernel")
	}
	var err error
	s.modules, err = pickModules(s.files)
	return s, err
}

// add streams one package through dpkg-deb. It does not use host.Run, which
// keeps a program's whole output.
func (s *source) add(ctx context.Context, deb string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	readErr := s.read(tar.NewReader(out))
	if _, err := io.Copy(io.Discard, out); err != nil && readErr == nil {
		readErr = err
	}
	return errors.Join(readErr, cmd.Wait())
}

func (s *source) read(t *tar.Reader) error {
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := merged(path.Clean("/" + h.Name))
		switch {
		case strings.HasPrefix(name, "/usr/share/"):
		case h.Typeflag == tar.TypeReg:
			b, err := io.ReadAll(t)
			if err != nil {
				return err
			}
			s.files[name] = b
		case h.Typeflag == tar.TypeSymlink:
			to := h.Linkname
			if !path.IsAbs(to) {
				to = path.Join(path.Dir(name), to)
			}
			s.links[name] = merged(path.Clean(to))
		case h.Typeflag == tar.TypeLink:
			s.links[name] = merged(path.Clean("/" + h.Linkname))
		}
	}
}

// merged maps a path to where it lies on a system with merged /usr.
func merged(name string) string {
	for _, d := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
		if strings.HasPrefix(name, d) {
			return "/usr" + name
		}
	}
	return name
}

// open returns the content at name, through symbolic links.
func (s *source) open(name string) ([]byte, bool) {
	for range 8 {
		if b, ok := s.files[name]; ok {
			return b, true
		}
		to, ok := s.links[name]
		if !ok {
			return nil, false
		}
		name = to
	}
	return nil, false
}
