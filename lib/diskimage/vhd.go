package diskimage

import (
	"bytes"
	"encoding/binary"
)

const (
	vhdFixed        = 2
	vhdDynamic      = 3
	vhdDifferencing = 4
)

// vhd reads Virtual PC's format: a dynamic disk begins with a copy of its
// footer, a fixed one is raw with a footer at the end.
type vhd struct {
	fixed bool
	table Table
	size  int64
}

func (v *vhd) start(in *Inspector, head []byte) error {
	if len(head) < 512 {
		return unsafef(VHD, "truncated: no complete header")
	}
	kind, err := v.footer(head[:512])
	if err != nil {
		return err
	}
	if kind != vhdDynamic {
		return unsafef(VHD, "disk type %d does not begin with a footer", kind)
	}
	off := binary.BigEndian.Uint64(head[16:])
	if off < 512 || off > 1<<40 {
		return unsafef(VHD, "the dynamic header lies at an impossible offset")
	}
	return in.ask(&region{
		off: int64(off), size: 1024, what: "the dynamic header", format: VHD,
		use: func(b []byte) error { return v.dynamic(in, b) },
	})
}

func (v *vhd) footer(f []byte) (kind uint32, err error) {
	size := binary.BigEndian.Uint64(f[48:])
	kind = binary.BigEndian.Uint32(f[60:])
	switch {
	case !vhdChecksum(f, 64):
		return 0, unsafef(VHD, "the footer's checksum is wrong")
	case f[12] != 0 || f[13] != 1:
		return 0, unsafef(VHD, "unknown version")
	case kind == vhdDifferencing:
		return 0, unsafef(VHD, "it depends on a parent")
	case kind != vhdFixed && kind != vhdDynamic:
		return 0, unsafef(VHD, "unknown disk type %d", kind)
	case size > MaxVirtualSize:
		return 0, unsafef(VHD, "the virtual size of %d bytes is out of range", size)
	}
	v.size = int64(size)
	return kind, nil
}

func (v *vhd) dynamic(in *Inspector, h []byte) error {
	entries, block := uint64(binary.BigEndian.Uint32(h[28:])), uint64(binary.BigEndian.Uint32(h[32:]))
	tableOff := binary.BigEndian.Uint64(h[16:])
	switch {
	case !bytes.HasPrefix(h, []byte("cxsparse")) || !vhdChecksum(h, 36):
		return unsafef(VHD, "the dynamic header is damaged")
	case !zero(h[40:56]) || !zero(h[64:576]) || !zero(h[576:768]):
		return unsafef(VHD, "it names a parent")
	case block < 512 || block > 256<<20 || block&(block-1) != 0:
		return unsafef(VHD, "the block size of %d is out of range", block)
	case entries > 16<<20 || entries*block < uint64(v.size):
		return unsafef(VHD, "a table of %d blocks does not fit the disk", entries)
	case tableOff < 512 || tableOff > 1<<50:
		return unsafef(VHD, "the block table lies at an impossible offset")
	}
	in.atLeast(int64(tableOff + 4*entries))
	return nil
}

func (v *vhd) finish(in *Inspector, size int64) (Result, error) {
	if v.fixed {
		kind, err := v.footer(in.tail[len(in.tail)-512:])
		if err != nil {
			return Result{}, err
		}
		if kind != vhdFixed {
			return Result{}, unsafef(VHD, "the footer is not that of a fixed disk")
		}
		if v.size > size-512 {
			return Result{}, unsafef(VHD, "truncated: the disk is larger than the file")
		}
		return Result{Format: VHD, VirtualSize: v.size, Table: v.table}, nil
	}
	if last := in.tail[max(0, len(in.tail)-512):]; !bytes.HasPrefix(last, []byte("conectix")) {
		return Result{}, unsafef(VHD, "truncated: the footer is missing")
	}
	return Result{Format: VHD, VirtualSize: v.size}, nil
}

// vhdChecksum verifies the one's complement of the sum of all bytes but the
// checksum's own, which lie at off.
func vhdChecksum(b []byte, off int) bool {
	var sum uint32
	for i, c := range b {
		if i < off || i >= off+4 {
			sum += uint32(c)
		}
	}
	return ^sum == binary.BigEndian.Uint32(b[off:])
}
