package qemu

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/host"
)

// A guest that writes a qcow2 header with a backing file to its raw disk makes
// nobody follow it (CVE-2026-24708: threat 4; CVE-2024-40767: threat 3).
func TestHeaderOnRawDisk(t *testing.T) {
	d, ctx := openOne(t)
	secret := filepath.Join(t.TempDir(), "secret")
	ok(t, os.WriteFile(secret, bytes.Repeat([]byte("secret"), 1000), 0o600))
	s := newSpec(t)
	evil := filepath.Join(t.TempDir(), "evil")
	_, err := host.Run(ctx, host.Command{Path: "qemu-img", Args: []string{"create", "-f", "qcow2", "-b", secret, "-F", "raw", evil, "1M"}})
	ok(t, err)
	header, err := os.ReadFile(evil)
	ok(t, err)
	if binary.BigEndian.Uint32(header) != 0x514649fb {
		t.Fatal("no qcow2")
	}
	disk := make([]byte, 1<<20)
	copy(disk, header[:min(len(header), 1<<19)])
	s.Image.Path = filepath.Join(t.TempDir(), "raw")
	ok(t, os.WriteFile(s.Image.Path, disk, 0o400))
	s.Flavor.RootGiB = 1
	ok(t, d.Spawn(ctx, s))
	for _, running := range []bool{true, false} {
		if !running {
			ok(t, d.PowerOff(ctx, s.ID, 0))
			ok(t, d.Resize(ctx, s.ID, driver.Flavor{VCPUs: 1, MemoryMiB: 64, RootGiB: 2}))
		}
		raw := snapshotRaw(ctx, t, d, s.ID)
		if !bytes.Equal(raw[:len(disk)], disk) || bytes.Contains(raw, []byte("secretsecret")) {
			t.Errorf("running %t: the copy is not what was on the disk", running)
		}
	}
}

// A qcow2 base that names a backing file after all is read without it.
func TestBackingOfBase(t *testing.T) {
	d, ctx := openOne(t)
	secret := filepath.Join(t.TempDir(), "secret")
	ok(t, os.WriteFile(secret, bytes.Repeat([]byte("secret"), 1<<16), 0o600))
	s := newSpec(t)
	s.Image.Format, s.Image.Path = "qcow2", filepath.Join(t.TempDir(), "evil")
	_, err := host.Run(ctx, host.Command{Path: "qemu-img", Args: []string{"create", "-f", "qcow2", "-b", secret, "-F", "raw", s.Image.Path, "1M"}})
	ok(t, err)
	ok(t, d.Spawn(ctx, s))
	if raw := snapshotRaw(ctx, t, d, s.ID); bytes.Contains(raw, []byte("secret")) {
		t.Error("the host's file is in the snapshot")
	}
}

// Formats that QEMU cannot write over are converted once.
func TestConvertedImage(t *testing.T) {
	d, ctx := openOne(t)
	s := newSpec(t)
	vmdk := filepath.Join(t.TempDir(), "image")
	_, err := host.Run(ctx, host.Command{Path: "qemu-img", Args: []string{
		"convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", s.Image.Path, vmdk,
	}})
	ok(t, err)
	s.Image.Path, s.Image.Format = vmdk, "vmdk"
	ok(t, d.Spawn(ctx, s))
	upTimes(ctx, t, d, s.ID, 1)
	if raw := snapshotRaw(ctx, t, d, s.ID); !bytes.Contains(raw, []byte("marker of the image")) {
		t.Error("the snapshot lacks the image's content")
	}
	if _, err := os.Stat(vmdk + driver.ConvertedSuffix); err != nil {
		t.Error(err)
	}
}

func snapshotRaw(ctx context.Context, t *testing.T, d *QEMU, id string) []byte {
	t.Helper()
	dir := t.TempDir()
	dst := filepath.Join(dir, "snapshot")
	format, err := d.Snapshot(ctx, id, dst)
	ok(t, err)
	out, err := host.Run(ctx, host.Command{Path: "qemu-img", Args: []string{"info", "--output=json", "-f", format, dst}})
	ok(t, err)
	if strings.Contains(string(out), "backing") {
		t.Errorf("the snapshot has a backing file: %s", out)
	}
	_, err = host.Run(ctx, host.Command{Path: "qemu-img", Args: []string{"dd", "-f", format, "-O", "raw", "bs=1M", "count=1", "if=" + dst, "of=" + dst + ".raw"}})
	ok(t, err)
	raw, err := os.ReadFile(dst + ".raw")
	ok(t, err)
	return raw
}
