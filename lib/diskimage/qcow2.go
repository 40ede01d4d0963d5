package diskimage

import "encoding/binary"

// Limits that QEMU itself sets to qcow2 tables.
const (
	qcow2MaxL1        = 32 << 20 // bytes
	qcow2MaxRefTable  = 8 << 20  // bytes
	qcow2MaxSnapshots = 65536
	qcow2Offset       = 0x00fffffffffffe00 // bits 9-55 of an L1 or L2 entry

	qcow2Dirty       = 1 << 0
	qcow2Corrupt     = 1 << 1
	qcow2DataFile    = 1 << 2
	qcow2Compression = 1 << 3
	qcow2ExtendedL2  = 1 << 4

	qcow2ExtEnd      = 0
	qcow2ExtDataFile = 0x44415441
	qcow2ExtCrypto   = 0x0537be77
)

// qcow2 reads QEMU's format (docs/interop/qcow2.txt), versions 2 and 3.
type qcow2 struct {
	size        int64
	clusterBits uint
	entrySize   int // of an L2 entry
}

func (q *qcow2) start(in *Inspector, head []byte) error {
	if len(head) < 104 {
		return unsafef(QCOW2, "truncated: no complete header")
	}
	be32 := func(off int) uint32 { return binary.BigEndian.Uint32(head[off:]) }
	be64 := func(off int) uint64 { return binary.BigEndian.Uint64(head[off:]) }
	version := be32(4)
	if version != 2 && version != 3 {
		return unsafef(QCOW2, "unknown version %d", version)
	}
	if be64(8) != 0 || be32(16) != 0 {
		return unsafef(QCOW2, "it names a backing file")
	}
	if q.clusterBits = uint(be32(20)); q.clusterBits < 9 || q.clusterBits > 21 {
		return unsafef(QCOW2, "cluster size 2^%d is out of range", q.clusterBits)
	}
	if be64(24) > MaxVirtualSize {
		return unsafef(QCOW2, "the virtual size of %d bytes is out of range", be64(24))
	}
	q.size = int64(be64(24))
	if be32(32) != 0 {
		return unsafef(QCOW2, "it is encrypted")
	}
	headerLength := uint32(72)
	q.entrySize = 8
	if version == 3 {
		if err := q.features(be64(72)); err != nil {
			return err
		}
		if order := be32(96); order > 6 {
			return unsafef(QCOW2, "refcounts of 2^%d bits are out of range", order)
		}
		headerLength = be32(100)
		if headerLength < 104 || headerLength%8 != 0 || headerLength > 1<<q.clusterBits || headerLength > headSize {
			return unsafef(QCOW2, "the header length %d is out of range", headerLength)
		}
	}
	if err := q.extensions(head, int(headerLength)); err != nil {
		return err
	}
	return q.tables(in, be32, be64)
}

// features checks the incompatible feature bits: an opener must understand
// every one, so an unknown one is refused.
func (q *qcow2) features(bits uint64) error {
	switch {
	case bits&qcow2DataFile != 0:
		return unsafef(QCOW2, "it keeps its data in an external file")
	case bits&qcow2Corrupt != 0:
		return unsafef(QCOW2, "it is marked corrupt")
	case bits&^(qcow2Dirty|qcow2Compression|qcow2ExtendedL2) != 0:
		return unsafef(QCOW2, "unknown incompatible features %#x", bits)
	}
	if bits&qcow2ExtendedL2 != 0 {
		q.entrySize = 16
	}
	return nil
}

// extensions walks the header extensions; one that names a data file or holds
// an encryption header is refused even when the feature bits deny it.
func (q *qcow2) extensions(head []byte, off int) error {
	end := min(len(head), 1<<q.clusterBits)
	for off+8 <= end {
		kind, size := binary.BigEndian.Uint32(head[off:]), int64(binary.BigEndian.Uint32(head[off+4:]))
		switch kind {
		case qcow2ExtEnd:
			return nil
		case qcow2ExtDataFile:
			return unsafef(QCOW2, "it names an external data file")
		case qcow2ExtCrypto:
			return unsafef(QCOW2, "it is encrypted")
		}
		if size > int64(end-off-8) {
			return unsafef(QCOW2, "a header extension is longer than the header")
		}
		off += 8 + int(size+7)&^7
	}
	return nil
}

// tables checks place and size of the L1 and refcount tables and asks to see
// the L1 table, to find out whether the image is complete.
func (q *qcow2) tables(in *Inspector, be32 func(int) uint32, be64 func(int) uint64) error {
	cluster := uint64(1) << q.clusterBits
	l1Size, l1Off := uint64(be32(36)), be64(40)
	refOff, refSize := be64(48), uint64(be32(56))*cluster
	snapshots, snapOff := be32(60), be64(64)
	for _, off := range []uint64{l1Off, refOff, snapOff} {
		if off%cluster != 0 || off > 1<<56 {
			return unsafef(QCOW2, "a table lies at an impossible offset")
		}
	}
	perL2 := cluster / uint64(q.entrySize) * cluster // bytes of disk under one L2 table
	need := (uint64(q.size) + perL2 - 1) / perL2
	switch {
	case l1Size*8 > qcow2MaxL1:
		return unsafef(QCOW2, "the L1 table of %d entries is too large", l1Size)
	case l1Size < need:
		return unsafef(QCOW2, "the L1 table of %d entries is too small for the disk", l1Size)
	case l1Size > 0 && l1Off == 0 || refOff == 0 || refSize == 0:
		return unsafef(QCOW2, "a table is missing")
	case refSize > qcow2MaxRefTable:
		return unsafef(QCOW2, "the refcount table of %d bytes is too large", refSize)
	case snapshots > qcow2MaxSnapshots || snapshots > 0 && snapOff == 0:
		return unsafef(QCOW2, "the snapshot table is out of range")
	}
	in.atLeast(int64(l1Off + l1Size*8))
	in.atLeast(int64(refOff) + 1)
	if snapshots > 0 {
		in.atLeast(int64(snapOff) + 1)
	}
	if l1Size == 0 {
		return nil
	}
	return in.ask(&region{
		off: int64(l1Off), size: int(l1Size * 8), format: QCOW2,
		use: func(b []byte) error { return q.l1(in, b) },
	})
}

// l1 asks to see the L2 tables.
func (q *qcow2) l1(in *Inspector, table []byte) error {
	offsets := make([]int64, 0, len(table)/8)
	for ; len(table) >= 8; table = table[8:] {
		if off := int64(binary.BigEndian.Uint64(table) & qcow2Offset); off != 0 {
			offsets = append(offsets, off)
		}
	}
	for _, off := range offsets {
		if off%(1<<q.clusterBits) != 0 {
			return unsafef(QCOW2, "an L2 table lies at an impossible offset")
		}
		in.atLeast(off + 1)
	}
	return in.askEach(offsets, region{
		size: 1 << q.clusterBits, format: QCOW2,
		use: func(b []byte) error { q.l2(in, b); return nil },
	})
}

// l2 notes how far the clusters of one L2 table reach. The last cluster of a
// file may be cut short, so only its start must be there.
func (q *qcow2) l2(in *Inspector, table []byte) {
	compressed := uint64(1)<<(62-(q.clusterBits-8)) - 1
	for ; len(table) >= q.entrySize; table = table[q.entrySize:] {
		e := binary.BigEndian.Uint64(table)
		off := e & qcow2Offset
		if e>>62&1 == 1 {
			off = e & compressed
		}
		if off != 0 {
			in.atLeast(int64(off) + 1)
		}
	}
}

func (q *qcow2) finish(_ *Inspector, _ int64) (Result, error) {
	return Result{Format: QCOW2, VirtualSize: q.size}, nil
}
