package diskimage

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// The attacks are those of the published advisories on OpenStack's handling of
// images; each test names the ones it guards against.

// handQCOW2 makes a minimal valid qcow2 v3 of 1 MiB.
func handQCOW2() []byte {
	const cluster = 65536
	b := make([]byte, 4*cluster)
	be := binary.BigEndian
	copy(b, "QFI\xfb")
	be.PutUint32(b[4:], 3)
	be.PutUint32(b[20:], 16)
	be.PutUint64(b[24:], 1<<20)
	be.PutUint32(b[36:], 1)         // L1 entries
	be.PutUint64(b[40:], 3*cluster) // L1
	be.PutUint64(b[48:], cluster)   // refcount table
	be.PutUint32(b[56:], 1)
	be.PutUint32(b[96:], 4)
	be.PutUint32(b[100:], 104)
	be.PutUint64(b[cluster:], 2*cluster)
	return b
}

// handVMDK makes a sparse extent with the given descriptor.
func handVMDK(capacity uint64, descriptor string) []byte {
	b := make([]byte, 128<<10)
	le := binary.LittleEndian
	copy(b, "KDMV")
	le.PutUint32(b[4:], 1)
	le.PutUint32(b[8:], 3)
	le.PutUint64(b[12:], capacity)
	le.PutUint64(b[20:], 128)
	le.PutUint64(b[28:], 1)
	le.PutUint64(b[36:], 20)
	le.PutUint32(b[44:], 512)
	le.PutUint64(b[48:], 21)
	le.PutUint64(b[56:], 26)
	le.PutUint64(b[64:], 128)
	copy(b[512:], descriptor)
	return b
}

func descriptor(kind, extent string) string {
	return "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"" + kind + "\"\n\n# Extent description\n" + extent + "\n"
}

const goodExtent = `RW 2048 SPARSE "disk.vmdk"`

func edit(b []byte, off int, v ...byte) []byte {
	b = bytes.Clone(b)
	copy(b[off:], v)
	return b
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// Threat 1: CVE-2022-47951, a VMDK whose descriptor names a host file.
func TestThreat1VMDKNamesHostFile(t *testing.T) {
	if r, err := inspect(t, handVMDK(2048, descriptor("monolithicSparse", goodExtent))); err != nil || r.VirtualSize != 1<<20 {
		t.Fatalf("a harmless one: %+v, %v", r, err)
	}
	for _, kind := range []string{
		"monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse", "vmfs", "vmfsSparse", "fullDevice",
		"partitionedDevice", "vmfsRaw", "vmfsRDM", "custom", "",
	} {
		refused(t, handVMDK(2048, descriptor(kind, `RW 2048 FLAT "/etc/passwd" 0`)), "in other files")
	}
	for _, extent := range []string{
		`RW 2048 FLAT "/etc/passwd" 0`, `RW 2048 FLAT "disk-flat.vmdk" 0`, `RW 2048 SPARSE "/etc/passwd"`,
		`RW 2048 SPARSE "../secret"`, `RW 2048 SPARSE "nbd:host:1"`, `rdonly 2048 vmfs "/dev/sda"`, goodExtent + "\n" + goodExtent,
		"RW\t2048\tFLAT\t\"/etc/passwd\"\t0", `NOACCESS 2048 ZERO`, `RW 4096 SPARSE "disk.vmdk"`, "",
	} {
		refused(t, handVMDK(2048, descriptor("monolithicSparse", extent)), "extent")
	}
	// The text form alone, under whatever comments.
	for _, text := range []string{
		descriptor("monolithicFlat", `RW 1 FLAT "/etc/passwd" 0`),
		"\n# x\n   \n# y\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n",
	} {
		refused(t, []byte(text), "names other files")
	}
	// A capacity of 0 makes readers follow the descriptor's extents.
	refused(t, handVMDK(0, descriptor("monolithicSparse", goodExtent)), "capacity of 0")
	two := descriptor("monolithicSparse", goodExtent) + "createType=\"monolithicFlat\"\n"
	refused(t, handVMDK(2048, two), "createType")
	refused(t, handVMDK(2048, descriptor("monolithicSparse", goodExtent)+"parentFileNameHint=\"/etc/passwd\"\n"), "parent")
	refused(t, handVMDK(2048, strings.Replace(descriptor("monolithicSparse", goodExtent), "ffffffff", "12345678", 1)), "parent")
	// A second descriptor behind the end of the first, or beyond its size.
	refused(t, handVMDK(2048, descriptor("monolithicSparse", goodExtent)+"\x00"+descriptor("monolithicFlat", goodExtent)), "follows the end")
	short := edit(handVMDK(2048, descriptor("monolithicSparse", goodExtent)), 36, 1)
	copy(short[512*3:], `parentFileNameHint="/etc/passwd"`)
	refused(t, short, "parent")
	refused(t, edit(handVMDK(2048, descriptor("monolithicSparse", goodExtent)), 28, 9), "where readers look")
	refused(t, []byte("COWD"+strings.Repeat("\x00", 2048)), "COWD")
}

// Threat 2: CVE-2024-32498, a qcow2 with an external data file.
func TestThreat2QCOW2DataFile(t *testing.T) {
	good := handQCOW2()
	if r, err := inspect(t, good); err != nil || r.VirtualSize != 1<<20 {
		t.Fatalf("a harmless one: %+v, %v", r, err)
	}
	refused(t, edit(good, 72, u64(qcow2DataFile)...), "external file")
	// The name alone, with the feature bit off.
	named := edit(good, 104, append(append(u32(qcow2ExtDataFile), u32(11)...), "/etc/passwd"...)...)
	refused(t, named, "external data file")
	// Hidden behind another extension.
	hidden := edit(good, 104, append(append(u32(0x6803f857), u32(3)...), make([]byte, 8)...)...)
	copy(hidden[120:], named[104:130])
	refused(t, hidden, "external data file")
	refused(t, edit(good, 104, append(u32(1), u32(1<<31)...)...), "longer than the header")
	refused(t, edit(good, 72, u64(1<<40)...), "unknown incompatible")
	b := qemuImg(t, "create", "-q", "-f", "qcow2", "-o", "data_file="+t.TempDir()+"/data", "FILE", "1M")
	refused(t, b, "external")
}

// Threat 3: CVE-2024-40767, another format under the label raw.
func TestThreat3LabelledRaw(t *testing.T) {
	for _, b := range [][]byte{handQCOW2(), handVMDK(2048, descriptor("monolithicSparse", goodExtent))} {
		for _, label := range []string{"raw", "ami", "ari", "aki", "iso", "vhd", "ploop", ""} {
			r, err := inspect(t, b)
			if err != nil {
				t.Fatal(err)
			}
			refusedBy(t, r, r.Match(label), "but the content is")
		}
	}
	// A descriptor behind other bytes: raw to all who guess, but not to a
	// reader that is told to take it for a VMDK.
	for _, at := range []int{0, 1000, 70_000} {
		b := append(bytes.Repeat([]byte("x"), at), ("\n" + `createType="monolithicFlat"` + "\nRW 1 FLAT \"/etc/passwd\" 0\n")...)
		r, err := inspect(t, b)
		if err != nil || r.Format != Raw || !r.Describes {
			t.Errorf("descriptor at %d: %+v, %v", at, r, err)
		}
	}
	for _, magic := range []string{
		"QED\x00", "WithoutFreeSpace", "WithouFreSpacExt", "Bochs Virtual HD Image",
		"#!/bin/sh\n#V2.0 Format\nmodprobe cloop",
	} {
		refused(t, append([]byte(magic), make([]byte, 4096)...), "not supported")
	}
	refused(t, append(make([]byte, 4096), append([]byte("koly"), make([]byte, 508)...)...), "not supported")
}

// Threat 4: CVE-2026-24708, a guest writes a qcow2 header on its raw disk: what
// is read back is refused for its backing file, and is not raw.
func TestThreat4HeaderWrittenByGuest(t *testing.T) {
	disk := make([]byte, 1<<20)
	copy(disk, edit(handQCOW2(), 8, append(u64(1024), u32(11)...)...)[:65536])
	copy(disk[1024:], "/etc/passwd")
	refused(t, disk, "backing file")
	copy(disk, handQCOW2())
	r, err := inspect(t, disk)
	if err != nil {
		t.Fatal(err)
	}
	refusedBy(t, r, r.Match("raw"), "declared as raw")
}

// Threats 5, 6, 7: CVE-2015-1851, CVE-2015-5163, CVE-2015-7548 and their kin,
// a qcow2 with a backing file on every way into the cloud.
func TestThreats5To7BackingFile(t *testing.T) {
	good := handQCOW2()
	refused(t, edit(good, 8, u64(1024)...), "backing file")
	refused(t, edit(good, 16, u32(11)...), "backing file")
	v2 := edit(good, 4, u32(2)...)
	refused(t, edit(v2, 8, u64(1024)...), "backing file")
	b := qemuImg(t, "create", "-q", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "FILE", "1M")
	refused(t, b, "backing file")
	refused(t, qemuImg(t, "create", "-q", "-f", "qed", "FILE", "1M"), "not supported")
	refused(t, edit(good, 4, u32(1)...), "unknown version")
}

// Threat 8: CVE-2015-5162, tables that make qemu-img eat memory and time.
func TestThreat8AbsurdTables(t *testing.T) {
	good := handQCOW2()
	for what, b := range map[string][]byte{
		"L1 table of":        edit(good, 36, u32(1<<31)...),
		"too small":          edit(good, 24, u64(1<<40)...),
		"refcount table of":  edit(good, 56, u32(1<<30)...),
		"virtual size of":    edit(good, 24, u64(1<<62)...),
		"cluster size":       edit(good, 20, u32(40)...),
		"refcounts of":       edit(good, 96, u32(99)...),
		"header length":      edit(good, 100, u32(1<<30)...),
		"snapshot table":     edit(good, 60, u32(1<<20)...),
		"impossible offset":  edit(good, 40, u64(3*65536+1)...),
		"table is missing":   edit(good, 48, u64(0)...),
		"encrypted":          edit(good, 32, u32(1)...),
		"marked corrupt":     edit(good, 72, u64(qcow2Corrupt)...),
		"truncated":          edit(good, 40, u64(1<<40)...),
		"L2 table lies":      edit(good, 3*65536, u64(65536+512)...),
		"refers to byte":     edit(good, 3*65536, u64(1<<30)...),
		"unknown version":    edit(good, 4, u32(4)...),
		"no complete header": good[:90],
	} {
		refused(t, b, what)
	}
	vmdk := handVMDK(2048, descriptor("monolithicSparse", goodExtent))
	refused(t, edit(vmdk, 44, 0, 0, 0, 1), "grain tables")
	refused(t, edit(vmdk, 12, 0, 0, 0, 0, 0, 0, 0, 1), "capacity")
	refused(t, edit(vmdk, 20, 3), "grain size")
	refused(t, edit(vmdk, 57, 0xff), "truncated")
	refused(t, vmdk[:600], "truncated")
	end := edit(vmdk, 56, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	refused(t, end, "footer is missing")
	footer := bytes.Clone(vmdk[:512])
	binary.LittleEndian.PutUint64(footer[12:], 0)
	refused(t, append(append(append(bytes.Clone(end), make([]byte, 512)...), footer...), make([]byte, 512)...), "capacity of 0")
}

// Threat 9: CVE-2024-44082, an image used without inspection: nothing is
// accepted before its end was seen, and an empty one never.
func TestThreat9NothingIsAcceptedUnseen(t *testing.T) {
	refused(t, nil, "empty")
	in := NewInspector()
	bad := edit(handQCOW2(), 8, u64(1024)...)
	if _, err := in.Write(bad); err == nil {
		t.Error("Write went on with an unsafe image")
	}
	if _, err := in.Write(make([]byte, 100)); err == nil {
		t.Error("Write recovered from an unsafe image")
	}
	if _, err := in.Finish(); err == nil {
		t.Error("Finish accepted an unsafe image")
	}
}

func TestPolyglots(t *testing.T) {
	qcow := handQCOW2()
	refused(t, edit(qcow, 32768, []byte("\x01CD001\x01")...), "several formats: qcow2, iso")
	refused(t, edit(qcow, 0x40, 0x7f, 0x10, 0xda, 0xbe), "several formats")
	mbr := edit(qcow, 446, 0x80, 0, 2, 0, 0x83, 0xfe, 0xff, 0xff, 1, 0, 0, 0, 0xff, 7, 0, 0)
	refused(t, edit(mbr, 510, 0x55, 0xaa), "partition table")
	fixed := qemuImg(t, "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", "FILE", "1M")
	refused(t, append(qcow, fixed[len(fixed)-512:]...), "both vhd and another")
	refused(t, append(handQCOW2(), append([]byte("koly"), make([]byte, 508)...)...), "both dmg")
}

func TestDifferencingDisksAreRefused(t *testing.T) {
	vdi := qemuImg(t, "create", "-q", "-f", "vdi", "FILE", "4M")
	refused(t, edit(vdi, 0x4c, 4), "depends on another file")
	refused(t, edit(vdi, 0x1b8, 1), "parent")
	refused(t, edit(vdi, 0x183, 0xff), "do not fit")
	refused(t, edit(vdi, 0x44, 9), "unknown version")

	vhd := qemuImg(t, "create", "-q", "-f", "vpc", "-o", "force_size=on", "FILE", "4M")
	refused(t, resum(edit(vhd, 60, u32(vhdDifferencing)...), 0, 512, 64), "parent")
	refused(t, edit(vhd, 60, u32(vhdDifferencing)...), "checksum")
	refused(t, resum(edit(vhd, 512+64, 'x'), 512, 1024, 36), "parent")
	refused(t, resum(edit(vhd, 512+28, u32(1<<31)...), 512, 1024, 36), "does not fit")

	vhdx := qemuImg(t, "create", "-q", "-f", "vhdx", "FILE", "4M")
	at := bytes.Index(vhdx, []byte(vhdxDiskID))
	refused(t, edit(vhdx, at, []byte(vhdxParentLocate)...), "parent")
	meta := bytes.Index(vhdx, []byte(vhdxParameters))
	item := meta - meta%(1<<20) + int(binary.LittleEndian.Uint32(vhdx[meta+16:]))
	refused(t, edit(vhdx, item+4, 2), "parent")
	for _, header := range []int{64 << 10, 128 << 10} {
		if string(vhdx[header:header+4]) == "head" {
			refused(t, edit(vhdx, header+48, 1), "log")
		}
	}
	refused(t, vhdx[:200<<10], "region table")
}

// resum corrects a VHD checksum at off within b[from:from+size].
func resum(b []byte, from, size, off int) []byte {
	part := b[from : from+size]
	copy(part[off:], make([]byte, 4))
	var sum uint32
	for _, c := range part {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(part[off:], ^sum)
	return b
}

// seeds are starting points for fuzzing.
func seeds(t testing.TB) [][]byte {
	vhd := make([]byte, 4096)
	copy(vhd, "conectix")
	vdi := make([]byte, 4096)
	copy(vdi[0x40:], "\x7f\x10\xda\xbe")
	return [][]byte{
		nil, handQCOW2()[:104], handVMDK(2048, descriptor("monolithicSparse", goodExtent))[:26<<9], []byte("vhdxfile"), vhd, vdi,
		[]byte(descriptor("monolithicFlat", goodExtent)), []byte("# x\nversion=1"),
	}
}
