package diskimage

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// signature recognizes a format in the head of an image.
type signature struct {
	format Format
	off    int
	magic  string
}

// signatures are the formats that some reader might see in a file. The tools
// that guess a format look at these places.
func signatures() []signature {
	return []signature{
		{QCOW2, 0, "QFI\xfb"},
		{QED, 0, "QED\x00"},
		{VMDK, 0, "KDMV"},
		{VMDK, 0, "COWD"},
		{VHD, 0, "conectix"},
		{VHDX, 0, "vhdxfile"},
		{LUKS, 0, "LUKS\xba\xbe"},
		{VDI, 0x40, "\x7f\x10\xda\xbe"},
		{Parallels, 0, "WithoutFreeSpace"},
		{Parallels, 0, "WithouFreSpacExt"},
		{Bochs, 0, "Bochs Virtual HD Image"},
		{Cloop, 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"},
		{ISO, 32769, "CD001"},
	}
}

// recognize picks the reader for an image by its head, and refuses polyglots.
func recognize(head []byte) (format, error) {
	found := formats(head)
	table := partitionTable(head)
	switch {
	case len(found) > 1:
		return nil, polyglot(found)
	case len(found) == 0:
		return &rawDisk{format: Raw, table: table}, nil
	case table != NoTable && found[0] != ISO:
		return nil, unsafef(found[0], "it is both %s and a disk with a partition table", found[0])
	}
	switch found[0] {
	case QCOW2:
		return &qcow2{}, nil
	case VMDK:
		return &vmdk{}, nil
	case VDI:
		return &vdi{}, nil
	case VHD:
		return &vhd{}, nil
	case VHDX:
		return &vhdx{}, nil
	case ISO, LUKS:
		return &rawDisk{format: found[0], table: table}, nil
	}
	return nil, unsupported(found[0])
}

// recognizeTail looks for the formats that are known by their end: a fixed VHD
// is a raw disk with a footer.
func recognizeTail(f format, tail []byte) (format, error) {
	if len(tail) < 512 {
		return f, nil
	}
	last := tail[len(tail)-512:]
	raw, isRaw := f.(*rawDisk)
	if bytes.HasPrefix(last, []byte("koly")) {
		if !isRaw || raw.format != Raw {
			return nil, unsafef(DMG, "it is both dmg and another format")
		}
		return nil, unsupported(DMG)
	}
	if !bytes.HasPrefix(last, []byte("conectix")) || !vhdChecksum(last, 64) {
		return f, nil
	}
	if _, ok := f.(*vhd); ok {
		return f, nil
	}
	if !isRaw || raw.format != Raw {
		return nil, unsafef(VHD, "it is both vhd and another format")
	}
	return &vhd{fixed: true, table: raw.table}, nil
}

func unsupported(f Format) error { return unsafef(f, "the format %s is not supported", f) }

func polyglot(found []Format) error {
	names := make([]string, len(found))
	for i, f := range found {
		names[i] = string(f)
	}
	return unsafef(found[0], "it matches several formats: %s", strings.Join(names, ", "))
}

// formats returns the formats whose signature the head bears, without
// duplicates.
func formats(head []byte) []Format {
	var found []Format
	for _, s := range signatures() {
		if len(head) >= s.off+len(s.magic) && string(head[s.off:s.off+len(s.magic)]) == s.magic && !slices.Contains(found, s.format) {
			found = append(found, s.format)
		}
	}
	if isDescriptor(head) && !slices.Contains(found, VMDK) {
		found = append(found, VMDK)
	}
	return found
}

// isDescriptor recognizes a VMDK descriptor in text form: comments and empty
// lines, then "version=N", or its usual title.
func isDescriptor(head []byte) bool {
	text := head[:min(len(head), 4096)]
	if bytes.HasPrefix(bytes.ToLower(text), []byte("# disk descriptorfile")) {
		return true
	}
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		return bytes.HasPrefix(bytes.ToLower(line), []byte("version="))
	}
	return false
}

// partitionTable recognizes a DOS or GPT label. A boot signature alone is not
// enough: kernels and boot sectors have one too.
func partitionTable(head []byte) Table {
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return NoTable
	}
	used := 0
	for i := range 4 {
		e := head[446+16*i : 446+16*(i+1)]
		start, count := binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		switch {
		case e[0]&0x7f != 0:
			return NoTable
		case e[4] == 0:
			continue
		case start == 0 || count == 0:
			return NoTable
		}
		used++
	}
	if used == 0 {
		return NoTable
	}
	if len(head) >= 520 && string(head[512:520]) == "EFI PART" || len(head) >= 4104 && string(head[4096:4104]) == "EFI PART" {
		return GPT
	}
	return MBR
}

// rawDisk is what is opened as plain sectors: raw disks, LUKS, ISO 9660.
type rawDisk struct {
	format Format
	table  Table
}

func (r *rawDisk) start(in *Inspector, head []byte) error {
	if r.format == ISO && len(head) > 32768 && head[32768] > 3 && head[32768] != 255 {
		return unsafef(ISO, "unknown volume descriptor %d", head[32768])
	}
	if r.format != ISO || len(head) < 32768+132 {
		return nil
	}
	pvd := head[32768:]
	blocks, size := int64(binary.LittleEndian.Uint32(pvd[80:])), int64(binary.LittleEndian.Uint16(pvd[128:]))
	if pvd[0] == 1 && size <= 2048 {
		in.atLeast(blocks * size)
	}
	return nil
}

func (r *rawDisk) finish(in *Inspector, size int64) (Result, error) {
	words := bytes.Contains(bytes.ToLower(in.scan), []byte("createtype"))
	return Result{Format: r.format, VirtualSize: size, Table: r.table, Describes: words}, nil
}
