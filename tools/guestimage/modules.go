package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// The kernel modules of the guest, by when they are loaded. Optional ones may
// be missing from the kernel.
var (
	bootModules     = []string{"virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod"}
	fallbackModules = []string{"ata_piix", "nvme", "usb_storage", "xhci_pci"}
	lateModules     = []string{"virtio_net", "virtio_rng", "button", "evdev", "virtio_balloon"}
	demandModules   = []string{
		"isofs", "sr_mod", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8",
		"8021q", "dummy", "e1000", "e1000e", "virtio_console",
	}
	requiredModules = []string{"virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "isofs", "vfat", "button"}
)

// module is a kernel module with its needs.
type module struct {
	name    string
	file    string // below /usr/lib/modules/VERSION
	version string
	content []byte
	depends []string
	aliases []string
}

// pickModules returns the modules named above and those they depend on, each
// after its dependencies.
func pickModules(files map[string][]byte) ([]module, error) {
	known := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, "/usr/lib/modules/") && strings.HasSuffix(name, ".ko") {
			known[moduleName(name)] = name
		}
	}
	for _, m := range requiredModules {
		if known[m] == "" {
			return nil, fmt.Errorf("the kernel has no module %s", m)
		}
	}
	p := &picker{files: files, known: known, done: map[string]bool{}}
	for _, set := range [][]string{bootModules, fallbackModules, lateModules, demandModules} {
		for _, m := range set {
			if err := p.pick(m); err != nil {
				return nil, err
			}
		}
	}
	return p.picked, nil
}

type picker struct {
	files  map[string][]byte
	known  map[string]string
	done   map[string]bool
	picked []module
}

func (p *picker) pick(name string) error {
	file := p.known[name]
	if p.done[name] || file == "" { // built in, or not in this kernel
		return nil
	}
	p.done[name] = true
	m, err := readModule(name, file, p.files[file])
	if err != nil {
		return err
	}
	for _, d := range m.depends {
		if err := p.pick(d); err != nil {
			return err
		}
	}
	p.picked = append(p.picked, m)
	return nil
}

func readModule(name, file string, content []byte) (module, error) {
	rest := strings.TrimPrefix(file, "/usr/lib/modules/")
	version, below, _ := strings.Cut(rest, "/")
	m := module{name: name, file: below, version: version, content: content}
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return m, fmt.Errorf("module %s: %w", name, err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return m, fmt.Errorf("module %s has no .modinfo", name)
	}
	info, err := section.Data()
	if err != nil {
		return m, fmt.Errorf("module %s: %w", name, err)
	}
	for _, entry := range bytes.Split(info, []byte{0}) {
		key, value, _ := strings.Cut(string(entry), "=")
		switch key {
		case "depends":
			for _, d := range strings.Split(value, ",") {
				if d != "" {
					m.depends = append(m.depends, strings.ReplaceAll(d, "-", "_"))
				}
			}
		case "alias":
			m.aliases = append(m.aliases, value)
		}
	}
	return m, nil
}

func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(path.Base(file), ".ko"), "-", "_")
}

// closure returns the modules of set with their dependencies, in load order.
func closure(all []module, set []string) []module {
	need := map[string]bool{}
	for _, n := range set {
		need[n] = true
	}
	for i := len(all) - 1; i >= 0; i-- {
		if need[all[i].name] {
			for _, d := range all[i].depends {
				need[d] = true
			}
		}
	}
	var out []module
	for _, m := range all {
		if need[m.name] {
			out = append(out, m)
		}
	}
	return out
}
