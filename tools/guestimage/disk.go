package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tropocloud/tropo/host"
)

// The layout, in sectors of 512 bytes. The root partition is the last one, so
// that it can grow.
const (
	sector     = 512
	bootStart  = 2048
	bootSize   = 24 << 20 / sector
	rootStart  = bootStart + bootSize
	rootSize   = 72 << 20 / sector
	diskSize   = (rootStart + rootSize) * sector
	rootUUID   = "74726f70-6f67-4e67-8573-74726f6f7401"
	hashSeed   = "74726f70-6f67-4e67-8573-74726f6f7402"
	bootSerial = "74726f70"
)

// epoch is every time stamp in the image: builds are comparable.
const epoch = 1767225600 // 2026-01-01

// commandLine of the kernel: self-tests of ciphers cost a slow guest a second,
// and the last console is where the boot is logged.
const commandLine = "console=tty0 console=ttyS0,115200 no_timer_check cryptomgr.notests quiet loglevel=4 panic=10"

// makeDisk writes the qcow2 disk image.
func makeDisk(ctx context.Context, file string, s *source, root tree) error {
	dir, err := os.MkdirTemp("", "guestimage")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	raw, err := os.Create(filepath.Join(dir, "disk.raw"))
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.Truncate(diskSize); err != nil {
		return err
	}
	fat, err := makeBoot(ctx, dir, s)
	if err != nil {
		return fmt.Errorf("boot file system: %w", err)
	}
	ext4, err := makeRootFS(ctx, dir, root)
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	for _, part := range []struct {
		file  string
		start int64
	}{{fat, bootStart}, {ext4, rootStart}} {
		if err := copyAt(raw, part.file, part.start*sector); err != nil {
			return err
		}
	}
	if err := writeMBR(raw); err != nil {
		return err
	}
	if err := raw.Close(); err != nil {
		return err
	}
	return run(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw.Name(), file)
}

// makeBoot makes the FAT partition: SYSLINUX, kernel, ramdisk.
func makeBoot(ctx context.Context, dir string, s *source) (string, error) {
	img := filepath.Join(dir, "boot.fat")
	if err := os.WriteFile(img, nil, 0o644); err != nil {
		return "", err
	}
	if err := os.Truncate(img, bootSize*sector); err != nil {
		return "", err
	}
	files := map[string]string{
		"vmlinuz":      filepath.Join(dir, "vmlinuz"),
		"initrd.gz":    filepath.Join(dir, "initrd.gz"),
		"syslinux.cfg": filepath.Join(dir, "syslinux.cfg"),
	}
	t, err := diskRamdisk(s)
	if err != nil {
		return "", err
	}
	if err := writeRamdisk(files["initrd.gz"], t); err != nil {
		return "", err
	}
	if err := os.WriteFile(files["vmlinuz"], s.kernel, 0o644); err != nil {
		return "", err
	}
	cfg := "SERIAL 0 115200\nDEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n  KERNEL vmlinuz\n  INITRD initrd.gz\n  APPEND " + commandLine + "\n"
	if err := os.WriteFile(files["syslinux.cfg"], []byte(cfg), 0o644); err != nil {
		return "", err
	}
	// The count of hidden sectors is how the boot sector finds its partition.
	if err := run(ctx, "mformat", "-i", img, "-v", "GUESTBOOT", "-N", bootSerial, "-T", fmt.Sprint(bootSize),
		"-h", "255", "-s", "63", "-H", fmt.Sprint(bootStart), "::"); err != nil {
		return "", err
	}
	for _, name := range []string{"vmlinuz", "initrd.gz", "syslinux.cfg"} {
		if err := os.Chtimes(files[name], time.Unix(epoch, 0), time.Unix(epoch, 0)); err != nil {
			return "", err
		}
		if err := run(ctx, "mcopy", "-m", "-i", img, files[name], "::"+name); err != nil {
			return "", err
		}
	}
	return img, run(ctx, "syslinux", "--install", img)
}

// makeRootFS makes the ext4 partition. Owners and set-uid bits are written
// afterwards with debugfs, as the builder cannot set them on its own files.
func makeRootFS(ctx context.Context, dir string, root tree) (string, error) {
	stage, img := filepath.Join(dir, "root"), filepath.Join(dir, "root.ext4")
	if err := os.Mkdir(stage, 0o755); err != nil {
		return "", err
	}
	fix, err := stageTree(stage, root)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "fix"), []byte(fix), 0o644); err != nil {
		return "", err
	}
	if err := run(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-N", "16384", "-m", "0", "-L", "guestroot", "-U", rootUUID,
		"-E", "hash_seed="+hashSeed+",lazy_itable_init=1,root_owner=0:0", "-J", "size=4", "-O", "^metadata_csum,^orphan_file",
		"-d", stage, img, fmt.Sprintf("%dk", rootSize/2)); err != nil {
		return "", err
	}
	return img, run(ctx, "debugfs", "-w", "-f", filepath.Join(dir, "fix"), img)
}

// stageTree writes t below dir and returns the debugfs commands that set what
// could not be set there.
func stageTree(dir string, t tree) (string, error) {
	at := time.Unix(epoch, 0)
	var fix strings.Builder
	for _, p := range t.paths() {
		n, file := t[p], filepath.Join(dir, p)
		var err error
		switch n.mode &^ 0o7777 {
		case modeDir:
			err = os.MkdirAll(file, 0o755)
		case modeLink:
			err = os.Symlink(string(n.content), file)
		default:
			err = os.WriteFile(file, n.content, 0o644)
		}
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&fix, "sif %s mode 0%o\nsif %s uid %d\nsif %s gid %d\n", p, n.mode, p, n.uid, p, n.gid)
		for _, field := range []string{"atime", "ctime", "crtime", "mtime"} {
			fmt.Fprintf(&fix, "sif %s %s @%d\n", p, field, epoch)
		}
	}
	paths := t.paths()
	for i := len(paths) - 1; i >= 0; i-- {
		if t[paths[i]].mode&^0o7777 == modeLink {
			continue
		}
		if err := os.Chtimes(filepath.Join(dir, paths[i]), at, at); err != nil {
			return "", err
		}
	}
	return fix.String(), os.Chtimes(dir, at, at)
}

// writeMBR writes SYSLINUX's boot code and a DOS label with the two
// partitions, the first active.
func writeMBR(w io.WriterAt) error {
	code, err := bootCode()
	if err != nil {
		return err
	}
	mbr := make([]byte, sector)
	copy(mbr[:440], code)
	binary.LittleEndian.PutUint32(mbr[440:], 0x74726f70)
	entry := func(i int, active, kind byte, start, size uint32) {
		e := mbr[446+16*i:]
		e[0], e[4] = active, kind
		copy(e[1:4], []byte{0xfe, 0xff, 0xff}) // beyond CHS: use the LBA
		copy(e[5:8], []byte{0xfe, 0xff, 0xff})
		binary.LittleEndian.PutUint32(e[8:], start)
		binary.LittleEndian.PutUint32(e[12:], size)
	}
	entry(0, 0x80, 0x0e, bootStart, bootSize)
	entry(1, 0, 0x83, rootStart, rootSize)
	mbr[510], mbr[511] = 0x55, 0xaa
	_, err = w.WriteAt(mbr, 0)
	return err
}

func bootCode() ([]byte, error) {
	for _, f := range []string{"/usr/lib/SYSLINUX/mbr.bin", "/usr/lib/syslinux/mbr/mbr.bin"} {
		b, err := os.ReadFile(f)
		if err == nil && len(b) <= 440 {
			return b, nil
		}
	}
	return nil, fmt.Errorf("no mbr.bin; install syslinux-common")
}

// copyAt copies file into w at offset, leaving holes for zeros.
func copyAt(w io.WriterAt, file string, offset int64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(f, buf)
		if n > 0 && !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := w.WriteAt(buf[:n], offset); err != nil {
				return err
			}
		}
		offset += int64(n)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func run(ctx context.Context, name string, args ...string) error {
	_, err := host.Run(ctx, host.Command{
		Path: name, Args: args, Timeout: 2 * time.Minute,
		Env: append(os.Environ(), "LC_ALL=C", "TZ=UTC", "MTOOLS_SKIP_CHECK=1",
			"PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin",
			fmt.Sprintf("SOURCE_DATE_EPOCH=%d", epoch), fmt.Sprintf("E2FSPROGS_FAKE_TIME=%d", epoch)),
	})
	return err
}
