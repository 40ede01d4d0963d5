package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Modes in the file-type bits of Unix, as cpio and debugfs want them.
const (
	modeDir  = 0o040000
	modeFile = 0o100000
	modeLink = 0o120000
)

// node is a file, directory or symbolic link of the guest. Owners live here,
// not on the build machine: the builder need not be root.
type node struct {
	mode     uint32
	uid, gid int
	content  []byte // link target for a symbolic link
}

// tree is a file system by absolute path.
type tree map[string]node

// paths returns the paths, parents before children.
func (t tree) paths() []string { return slices.Sorted(maps.Keys(t)) }

func (t tree) dir(name string, perm uint32) {
	for d := path.Dir(name); d != "/"; d = path.Dir(d) {
		if _, ok := t[d]; !ok {
			t[d] = node{mode: modeDir | 0o755}
		}
	}
	t[name] = node{mode: modeDir | perm}
}

func (t tree) file(name string, perm uint32, content []byte) {
	if d := path.Dir(name); d != "/" {
		if _, ok := t[d]; !ok {
			t.dir(d, 0o755)
		}
	}
	t[name] = node{mode: modeFile | perm, content: content}
}

func (t tree) link(name, to string) {
	t.file(name, 0, []byte(to))
	t[name] = node{mode: modeLink | 0o777, content: []byte(to)}
}

// scriptsFrom adds the embedded files below dir; what starts with "#!" may be
// run.
func (t tree) scriptsFrom(dir string) error {
	return fs.WalkDir(scripts, dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(scripts, p)
		if err != nil {
			return err
		}
		perm := uint32(0o644)
		if bytes.HasPrefix(b, []byte("#!")) {
			perm = 0o755
		}
		t.file(strings.TrimPrefix(p, dir), perm, b)
		return nil
	})
}

// program copies an executable and, recursively, the libraries it names.
func (t tree) program(s *source, name string, perm uint32) error {
	b, ok := s.open(name)
	if !ok {
		return fmt.Errorf("no package holds %s", name)
	}
	t.file(name, perm, b)
	return t.libraries(s, name, b)
}

var libraryDirs = []string{"/usr/lib/x86_64-linux-gnu", "/usr/libexec/sudo", "/usr/lib64"}

func (t tree) libraries(s *source, name string, content []byte) error {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, lib := range needed {
		if err := t.library(s, name, lib); err != nil {
			return err
		}
	}
	if interp := f.Section(".interp"); interp != nil {
		b, err := interp.Data()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		loader := merged(string(bytes.TrimRight(b, "\x00")))
		content, ok := s.open(loader)
		if !ok {
			return fmt.Errorf("no package holds the loader %s of %s", loader, name)
		}
		t.file(loader, 0o755, content)
	}
	return nil
}

func (t tree) library(s *source, of, lib string) error {
	for _, d := range libraryDirs {
		name := path.Join(d, lib)
		if _, ok := t[name]; ok {
			return nil
		}
		if b, ok := s.open(name); ok {
			t.file(name, 0o755, b)
			return t.libraries(s, name, b)
		}
	}
	return fmt.Errorf("no package holds %s, which %s needs", lib, of)
}

// list adds /usr/lib/modules/KIND.list and the modules in it.
func (t tree) list(kind string, mods []module) {
	var b strings.Builder
	for _, m := range mods {
		rel := m.version + "/" + m.file
		t.file("/usr/lib/modules/"+rel, 0o644, m.content)
		fmt.Fprintln(&b, rel)
	}
	t.file("/usr/lib/modules/"+kind+".list", 0o644, []byte(b.String()))
}
