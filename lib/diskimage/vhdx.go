package diskimage

import "encoding/binary"

const (
	vhdxHeader      = 64 << 10  // first header; the copy lies at 128 KiB
	vhdxRegions     = 192 << 10 // first region table; the copy lies at 256 KiB
	vhdxRegionsSize = 64 << 10
	vhdxMetaTable   = 64 << 10
	vhdxMetaMax     = 2 << 20
	vhdxBATMax      = 16 << 20
)

// Identifiers of regions and metadata items ([MS-VHDX] 2.2.3.2, 2.6.2), as
// they lie in the file.
const (
	vhdxBAT          = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"
	vhdxMetadata     = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"
	vhdxParameters   = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"
	vhdxVirtualSize  = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"
	vhdxParentLocate = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"
	vhdxDiskID       = "\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46"
	vhdxLogicalSize  = "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"
	vhdxPhysicalSize = "\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56"
)

// vhdx reads Hyper-V's format ([MS-VHDX]).
type vhdx struct{ size int64 }

func (v *vhdx) start(in *Inspector, _ []byte) error {
	for _, off := range []int64{vhdxHeader, 2 * vhdxHeader} {
		if err := in.ask(&region{off: off, size: 4096, what: "the header", format: VHDX, use: v.header}); err != nil {
			return err
		}
	}
	for i, off := range []int64{vhdxRegions, vhdxRegions + vhdxRegionsSize} {
		if err := in.ask(&region{
			off: off, size: vhdxRegionsSize, what: "the region table", format: VHDX,
			use: func(b []byte) error { return v.regions(in, b, i == 1) },
		}); err != nil {
			return err
		}
	}
	return nil
}

// header refuses a log: who opens the image replays it, which may change
// everything that was checked here.
func (v *vhdx) header(b []byte) error {
	if string(b[:4]) != "head" { // the other copy is in use
		return nil
	}
	if !zero(b[48:64]) {
		return unsafef(VHDX, "its log was not replayed; close it cleanly first")
	}
	return nil
}

// regions reads a region table. A reader may use either copy, so both must be
// valid in themselves; what both name is looked at.
func (v *vhdx) regions(in *Inspector, b []byte, second bool) error {
	if string(b[:4]) != "regi" {
		if second { // unused when the first is valid
			return nil
		}
		return unsafef(VHDX, "the region table is damaged")
	}
	count := binary.LittleEndian.Uint32(b[8:])
	if count > 2047 {
		return unsafef(VHDX, "the region table has %d entries", count)
	}
	for i := range int(count) {
		e := b[16+32*i:]
		off, size := binary.LittleEndian.Uint64(e[16:]), binary.LittleEndian.Uint32(e[24:])
		if off < 1<<20 || off > 1<<50 || off%(1<<20) != 0 || size == 0 {
			return unsafef(VHDX, "a region lies at an impossible offset")
		}
		switch string(e[:16]) {
		case vhdxBAT:
			in.atLeast(int64(off) + int64(size))
			if err := in.ask(&region{
				off: int64(off), size: int(min(size, vhdxBATMax)), format: VHDX,
				use: func(b []byte) error { blocks(in, b); return nil },
			}); err != nil {
				return err
			}
		case vhdxMetadata:
			if size < vhdxMetaTable {
				return unsafef(VHDX, "the metadata region is too small")
			}
			if err := in.ask(&region{
				off: int64(off), size: int(min(size, vhdxMetaMax)), what: "the metadata region", format: VHDX,
				use: v.metadata,
			}); err != nil {
				return err
			}
		default:
			if binary.LittleEndian.Uint32(e[28:])&1 != 0 {
				return unsafef(VHDX, "unknown required region")
			}
		}
	}
	return nil
}

// blocks notes how far the blocks in the allocation table reach.
func blocks(in *Inspector, table []byte) {
	for ; len(table) >= 8; table = table[8:] {
		e := binary.LittleEndian.Uint64(table)
		if state := e & 7; state == 6 || state == 7 {
			in.atLeast(int64(e>>20<<20&(1<<60-1)) + 1)
		}
	}
}

func (v *vhdx) metadata(b []byte) error {
	if string(b[:8]) != "metadata" {
		return unsafef(VHDX, "the metadata region is damaged")
	}
	count := binary.LittleEndian.Uint16(b[10:])
	if count > 2047 {
		return unsafef(VHDX, "the metadata table has %d entries", count)
	}
	for i := range int(count) {
		e := b[32+32*i:]
		off, size := uint64(binary.LittleEndian.Uint32(e[16:])), uint64(binary.LittleEndian.Uint32(e[20:]))
		var item []byte
		if off >= vhdxMetaTable && off+size <= uint64(len(b)) {
			item = b[off : off+size]
		}
		switch string(e[:16]) {
		case vhdxParentLocate:
			return unsafef(VHDX, "it names a parent")
		case vhdxParameters:
			if len(item) < 8 || binary.LittleEndian.Uint32(item[4:])&2 != 0 {
				return unsafef(VHDX, "it depends on a parent")
			}
		case vhdxVirtualSize:
			if len(item) < 8 || binary.LittleEndian.Uint64(item) > MaxVirtualSize {
				return unsafef(VHDX, "the virtual size is out of range")
			}
			v.size = int64(binary.LittleEndian.Uint64(item))
		case vhdxDiskID, vhdxLogicalSize, vhdxPhysicalSize:
		default:
			if binary.LittleEndian.Uint32(e[24:])&4 != 0 {
				return unsafef(VHDX, "unknown required metadata")
			}
		}
	}
	return nil
}

func (v *vhdx) finish(_ *Inspector, _ int64) (Result, error) {
	if v.size == 0 {
		return Result{}, unsafef(VHDX, "it does not say how large the disk is")
	}
	return Result{Format: VHDX, VirtualSize: v.size}, nil
}
