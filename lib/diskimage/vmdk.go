package diskimage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strings"
)

const (
	vmdkSector = 512
	// vmdkDescOffset is where readers look for the embedded descriptor,
	// whatever the header says; vmdkDescSize is how much they read.
	vmdkDescOffset = vmdkSector
	vmdkDescSize   = 20 * vmdkSector
	vmdkAtEnd      = 1<<64 - 1
	vmdkPerTable   = 512 // entries of a grain table
)

// vmdk reads VMware's sparse extents (Virtual Disk Format 5.0): one file that
// holds everything. All other kinds are a text that names files.
type vmdk struct {
	capacity   uint64 // sectors
	gdAtEnd    bool
	descriptor []byte
}

func (v *vmdk) start(in *Inspector, head []byte) error {
	if !bytes.HasPrefix(head, []byte("KDMV")) {
		if bytes.HasPrefix(head, []byte("COWD")) {
			return unsafef(VMDK, "COWD extents are not supported")
		}
		return unsafef(VMDK, "a descriptor without data names other files")
	}
	if len(head) < vmdkDescOffset+vmdkSector {
		return unsafef(VMDK, "truncated: no complete header")
	}
	if err := v.header(head[:vmdkSector]); err != nil {
		return err
	}
	descSectors := binary.LittleEndian.Uint64(head[36:])
	if off := binary.LittleEndian.Uint64(head[28:]); off != 1 || descSectors == 0 || descSectors > headSize/vmdkSector-1 {
		return unsafef(VMDK, "the descriptor is not where readers look for it")
	}
	// What readers look at, be it longer or shorter than what is declared.
	end := vmdkDescOffset + max(int(descSectors)*vmdkSector, vmdkDescSize)
	if err := v.describe(head[vmdkDescOffset:min(len(head), end)], int(descSectors)*vmdkSector); err != nil {
		return err
	}
	if v.gdAtEnd {
		return nil
	}
	return v.directory(in, binary.LittleEndian.Uint64(head[20:]), binary.LittleEndian.Uint64(head[56:]))
}

// directory asks to see the grain directory and tables, to find out whether
// the image is complete.
func (v *vmdk) directory(in *Inspector, grain, sector uint64) error {
	if sector == 0 || sector > MaxVirtualSize/vmdkSector {
		return unsafef(VMDK, "the grain directory lies at an impossible offset")
	}
	perTable := grain * vmdkPerTable
	size := int((v.capacity + perTable - 1) / perTable * 4)
	in.atLeast(int64(sector*vmdkSector) + int64(size))
	return in.ask(&region{off: int64(sector * vmdkSector), size: size, format: VMDK, use: func(gd []byte) error {
		tables := entries(gd)
		for _, at := range tables {
			in.atLeast(at + 4*vmdkPerTable)
		}
		return in.askEach(tables, region{size: 4 * vmdkPerTable, format: VMDK, use: func(gt []byte) error {
			for _, at := range entries(gt) {
				in.atLeast(at + 1)
			}
			return nil
		}})
	}})
}

// entries returns the offsets in bytes that a table of sectors holds, without
// 0 (absent) and 1 (zeros).
func entries(table []byte) []int64 {
	var offsets []int64
	for ; len(table) >= 4; table = table[4:] {
		if e := binary.LittleEndian.Uint32(table); e > 1 {
			offsets = append(offsets, int64(e)*vmdkSector)
		}
	}
	return offsets
}

// header checks a sparse extent's header, or the copy of it in the footer.
func (v *vmdk) header(h []byte) error {
	le32 := func(off int) uint32 { return binary.LittleEndian.Uint32(h[off:]) }
	le64 := func(off int) uint64 { return binary.LittleEndian.Uint64(h[off:]) }
	version, grain, perTable := le32(4), le64(20), le32(44)
	v.capacity = le64(12)
	v.gdAtEnd = le64(56) == vmdkAtEnd
	switch {
	case version < 1 || version > 3:
		return unsafef(VMDK, "unknown version %d", version)
	case v.capacity == 0:
		// Readers take this as "see the descriptor", and follow its extents.
		return unsafef(VMDK, "a capacity of 0 sends readers to other files")
	case v.capacity > MaxVirtualSize/vmdkSector:
		return unsafef(VMDK, "the capacity of %d sectors is out of range", v.capacity)
	case grain < 1 || grain > 1<<16 || grain&(grain-1) != 0:
		return unsafef(VMDK, "the grain size of %d sectors is out of range", grain)
	case perTable != vmdkPerTable:
		return unsafef(VMDK, "grain tables of %d entries are not supported", perTable)
	case v.capacity/(grain*vmdkPerTable) > 8<<20:
		return unsafef(VMDK, "the grain directory is too large")
	}
	return nil
}

var (
	vmdkCreateType = regexp.MustCompile(`(?mi)^[ \t]*createType[ \t]*=[ \t]*"([^"\r\n]*)"`)
	vmdkParent     = regexp.MustCompile(`(?i)parentFileNameHint`)
	vmdkParentCID  = regexp.MustCompile(`(?mi)^[ \t]*parentCID[ \t]*=[ \t]*([0-9a-z]*)`)
	vmdkExtent     = regexp.MustCompile(`^(?i:RW|RDONLY|NOACCESS)[ \t]+([0-9]+)[ \t]+(\S+)(?:[ \t]+"([^"]*)")?[ \t]*(.*)$`)
)

// describe checks the embedded descriptor. Only the part that is declared must
// be sensible, but nothing that readers might see may name another file.
func (v *vmdk) describe(visible []byte, declared int) error {
	if vmdkParent.Match(visible) {
		return unsafef(VMDK, "it names a parent file")
	}
	text := visible[:min(len(visible), declared)]
	if end := bytes.IndexByte(text, 0); end >= 0 {
		if len(bytes.Trim(visible[end:], "\x00")) > 0 && bytes.Contains(visible[end:], []byte(`"`)) {
			return unsafef(VMDK, "text follows the end of the descriptor")
		}
		text = text[:end]
	}
	kinds := vmdkCreateType.FindAllSubmatch(text, -1)
	if len(kinds) != 1 {
		return unsafef(VMDK, "the descriptor has %d createType lines", len(kinds))
	}
	kind := string(kinds[0][1])
	if kind != "monolithicSparse" && kind != "streamOptimized" {
		return unsafef(VMDK, "the type %.40q keeps its data in other files", kind)
	}
	for _, m := range vmdkParentCID.FindAllSubmatch(text, -1) {
		if !strings.EqualFold(string(m[1]), "ffffffff") {
			return unsafef(VMDK, "it depends on a parent")
		}
	}
	return v.extents(string(text))
}

// extents demands exactly one extent: this file, of the header's size, under a
// name that is no path.
func (v *vmdk) extents(text string) error {
	count := 0
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		word, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		switch strings.ToUpper(word) {
		case "RW", "RDONLY", "NOACCESS":
		default:
			continue
		}
		m := vmdkExtent.FindStringSubmatch(line)
		if m == nil {
			return unsafef(VMDK, "the descriptor has an extent that cannot be read")
		}
		if kind := strings.ToUpper(m[2]); kind != "SPARSE" {
			return unsafef(VMDK, "a %.20s extent names another file", kind)
		}
		if strings.ContainsAny(m[3], "/\\:") || strings.Contains(m[3], "..") || m[4] != "" {
			return unsafef(VMDK, "an extent names a file elsewhere")
		}
		if m[1] != fmt.Sprint(v.capacity) {
			return unsafef(VMDK, "the extent's size is not the header's")
		}
		count++
	}
	if count != 1 {
		return unsafef(VMDK, "the descriptor names %d extents", count)
	}
	v.descriptor = []byte(text)
	return nil
}

func (v *vmdk) finish(in *Inspector, size int64) (Result, error) {
	capacity := v.capacity
	if v.gdAtEnd {
		// Footer marker, footer, end-of-stream marker: readers replace the
		// header by the footer, so it must say the same.
		if len(in.tail) < tailSize || size < vmdkDescOffset+vmdkDescSize+tailSize {
			return Result{}, unsafef(VMDK, "truncated: the footer is missing")
		}
		footer := in.tail[vmdkSector : 2*vmdkSector]
		if !bytes.HasPrefix(footer, []byte("KDMV")) {
			return Result{}, unsafef(VMDK, "truncated: the footer is missing")
		}
		if err := v.header(footer); err != nil {
			return Result{}, err
		}
		if v.capacity != capacity || v.gdAtEnd || !bytes.Equal(footer[28:44], in.head[28:44]) {
			return Result{}, unsafef(VMDK, "the footer contradicts the header")
		}
	}
	return Result{Format: VMDK, VirtualSize: int64(capacity) * vmdkSector}, nil
}
