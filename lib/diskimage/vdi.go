package diskimage

import (
	"bytes"
	"encoding/binary"
)

// vdi reads VirtualBox's format, version 1.1.
type vdi struct{ size int64 }

func (v *vdi) start(in *Inspector, head []byte) error {
	if len(head) < 512 {
		return unsafef(VDI, "truncated: no complete header")
	}
	le32 := func(off int) uint32 { return binary.LittleEndian.Uint32(head[off:]) }
	size, block := binary.LittleEndian.Uint64(head[0x170:]), uint64(le32(0x178))
	blocks, used := uint64(le32(0x180)), uint64(le32(0x184))
	mapOff, dataOff := le32(0x154), le32(0x158)
	switch kind := le32(0x4c); {
	case le32(0x44) != 0x00010001:
		return unsafef(VDI, "unknown version %#x", le32(0x44))
	case kind != 1 && kind != 2:
		return unsafef(VDI, "image type %d depends on another file", kind)
	case !zero(head[0x1a8:0x1c8]):
		return unsafef(VDI, "it depends on a parent")
	case le32(0x168) != 512 || block != 1<<20:
		return unsafef(VDI, "unusual sector or block size")
	case size > MaxVirtualSize || blocks*block < size || blocks > size/block+1:
		return unsafef(VDI, "%d blocks do not fit a disk of %d bytes", blocks, size)
	case used > blocks:
		return unsafef(VDI, "more blocks are allocated than there are")
	case mapOff%512 != 0 || dataOff%512 != 0 || mapOff < 512 || uint64(dataOff) < uint64(mapOff)+4*blocks:
		return unsafef(VDI, "the block map lies at an impossible offset")
	}
	v.size = int64(size)
	in.atLeast(int64(mapOff) + int64(4*blocks))
	if used > 0 {
		in.atLeast(int64(uint64(dataOff) + used*block))
	}
	return nil
}

func (v *vdi) finish(_ *Inspector, _ int64) (Result, error) {
	return Result{Format: VDI, VirtualSize: v.size}, nil
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
