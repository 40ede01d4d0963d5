package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
)

// staticBusybox returns the build of busybox that needs no libraries.
func staticBusybox(s *source) ([]byte, error) {
	if b, ok := s.files[staticPath]; ok {
		return b, nil
	}
	return nil, errors.New("no package holds the static busybox")
}

// applets reads the applet names out of busybox's own table: NUL-separated
// names in order, from "[" on.
func applets(busybox []byte) []string {
	at := bytes.Index(busybox, []byte("\x00[\x00[[\x00acpid\x00"))
	if at < 0 {
		return nil
	}
	var names []string
	for _, n := range bytes.Split(busybox[at+1:], []byte{0}) {
		name := string(n)
		if name == "" || len(names) > 2 && name <= names[len(names)-1] {
			break
		}
		names = append(names, name)
	}
	return slices.DeleteFunc(names, func(n string) bool { return n != "[" && n != "[[" && !appletName.MatchString(n) || n == "busybox" })
}

// diskRamdisk is the small ramdisk of the disk image: it finds the root disk.
func diskRamdisk(s *source) (tree, error) {
	t := tree{}
	busybox, err := staticBusybox(s)
	if err != nil {
		return nil, err
	}
	t.file("/bin/busybox", 0o755, busybox)
	if err := t.bootFiles(s, "/lib/modules/"); err != nil {
		return nil, err
	}
	return t, nil
}

// fullRamdisk is the whole guest in memory.
func fullRamdisk(s *source, root tree) tree {
	t := maps.Clone(root)
	b, _ := scripts.ReadFile("initrd/init")
	t.file("/init", 0o755, bytes.Replace(b, []byte("#!/bin/busybox sh"), []byte("#!/usr/lib/guest/busybox sh"), 1))
	t.list("boot", closure(s.modules, bootModules))
	t.list("fallback", without(closure(s.modules, fallbackModules), closure(s.modules, bootModules)))
	return t
}

func (t tree) bootFiles(s *source, dir string) error {
	b, err := scripts.ReadFile("initrd/init")
	if err != nil {
		return err
	}
	t.file("/init", 0o755, b)
	boot := closure(s.modules, bootModules)
	for kind, mods := range map[string][]module{"boot": boot, "fallback": without(closure(s.modules, fallbackModules), boot)} {
		var list bytes.Buffer
		for _, m := range mods {
			t.file(dir+m.version+"/"+m.file, 0o644, m.content)
			fmt.Fprintln(&list, m.version+"/"+m.file)
		}
		t.file(dir+kind+".list", 0o644, list.Bytes())
	}
	return nil
}

func without(mods, minus []module) []module {
	return slices.DeleteFunc(slices.Clone(mods), func(m module) bool {
		return slices.ContainsFunc(minus, func(n module) bool { return n.name == m.name })
	})
}

// writeRamdisk writes t as a gzip-compressed cpio archive ("newc").
func writeRamdisk(file string, t tree) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(z, 1<<16)
	for i, p := range t.paths() {
		writeEntry(w, i+1, p[1:], t[p])
	}
	writeEntry(w, 0, "TRAILER!!!", node{})
	if err := w.Flush(); err != nil {
		return err
	}
	return errors.Join(z.Close(), f.Close())
}

// writeEntry writes one member; errors stick to w and show at Flush.
func writeEntry(w *bufio.Writer, inode int, name string, n node) {
	links := 1
	if n.mode&modeDir == modeDir && n.mode&modeFile != modeFile {
		links = 2
	}
	fmt.Fprintf(w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", inode, n.mode, n.uid, n.gid, links,
		epoch, len(n.content), 0, 0, 0, 0, len(name)+1, 0)
	w.WriteString(name)
	w.Write(make([]byte, 1+pad4(110+len(name)+1)))
	w.Write(n.content)
	w.Write(make([]byte, pad4(len(n.content))))
}

func pad4(n int) int { return (4 - n%4) % 4 }
