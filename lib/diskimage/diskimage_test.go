package diskimage

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stream feeds b to an Inspector in pieces of up to chunk bytes.
func stream(b []byte, chunk int) (Result, error) {
	in := NewInspector()
	rnd := rand.New(rand.NewPCG(1, uint64(chunk)))
	for len(b) > 0 {
		n := min(len(b), 1+rnd.IntN(chunk))
		if _, err := in.Write(b[:n]); err != nil {
			return Result{}, err
		}
		b = b[n:]
	}
	return in.Finish()
}

// inspect runs all ways to inspect b and demands the same verdict.
func inspect(t testing.TB, b []byte) (Result, error) {
	t.Helper()
	r, err := Inspect(bytes.NewReader(b), int64(len(b)))
	for _, chunk := range []int{513, 70_000, 1 << 22} {
		r2, err2 := stream(b, chunk)
		if r2 != r || (err == nil) != (err2 == nil) {
			t.Fatalf("streamed in pieces of %d: %+v, %v; at random: %+v, %v", chunk, r2, err2, r, err)
		}
	}
	return r, err
}

// refused demands an *Unsafe with words in its reason.
func refused(t testing.TB, b []byte, words string) {
	t.Helper()
	r, err := inspect(t, b)
	refusedBy(t, r, err, words)
}

func refusedBy(t testing.TB, r Result, err error, words string) {
	t.Helper()
	var u *Unsafe
	if !errors.As(err, &u) || !strings.Contains(u.Error(), words) {
		t.Errorf("got %+v, %v; want a refusal saying %q", r, err, words)
	}
}

// qemuImg makes an image of size bytes in the format, with options.
func qemuImg(t testing.TB, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	file := filepath.Join(t.TempDir(), "image")
	for i, a := range args {
		if a == "FILE" {
			args[i] = file
		}
	}
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v: %s", args, err, out)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content is a raw disk with data here and there.
func content(t testing.TB) string {
	t.Helper()
	b := make([]byte, 6<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(b[1<<20 : 3<<20])
	rnd.Read(b[5<<20:])
	file := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFormatsMadeByQEMU(t *testing.T) {
	raw := content(t)
	tests := []struct {
		name   string
		format Format
		args   []string
	}{
		{"qcow2 v3", QCOW2, []string{"-O", "qcow2"}},
		{"qcow2 v2", QCOW2, []string{"-O", "qcow2", "-o", "compat=0.10"}},
		{"qcow2 compressed", QCOW2, []string{"-O", "qcow2", "-c"}},
		{"qcow2 zstd", QCOW2, []string{"-O", "qcow2", "-c", "-o", "compression_type=zstd"}},
		{"qcow2 small clusters", QCOW2, []string{"-O", "qcow2", "-o", "cluster_size=512"}},
		{"qcow2 extended L2", QCOW2, []string{"-O", "qcow2", "-o", "extended_l2=on,cluster_size=64k"}},
		{"qcow2 preallocated", QCOW2, []string{"-O", "qcow2", "-o", "preallocation=metadata"}},
		{"vmdk monolithicSparse", VMDK, []string{"-O", "vmdk"}},
		{"vmdk streamOptimized", VMDK, []string{"-O", "vmdk", "-o", "subformat=streamOptimized"}},
		{"vdi dynamic", VDI, []string{"-O", "vdi"}},
		{"vdi static", VDI, []string{"-O", "vdi", "-o", "static=on"}},
		{"vhd dynamic", VHD, []string{"-O", "vpc", "-o", "force_size=on"}},
		{"vhd fixed", VHD, []string{"-O", "vpc", "-o", "subformat=fixed,force_size=on"}},
		{"vhdx dynamic", VHDX, []string{"-O", "vhdx"}},
		{"vhdx fixed", VHDX, []string{"-O", "vhdx", "-o", "subformat=fixed"}},
		{"raw", Raw, []string{"-O", "raw"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"convert", "-f", "raw"}, tt.args...)
			b := qemuImg(t, append(args, raw, "FILE")...)
			r, err := inspect(t, b)
			if err != nil {
				t.Fatal(err)
			}
			if r.Format != tt.format || r.VirtualSize != 6<<20 || r.Size != int64(len(b)) {
				t.Errorf("got %+v", r)
			}
			if err := r.Match(string(tt.format)); err != nil {
				t.Error(err)
			}
			if tt.format == Raw {
				return
			}
			// Threat 3: the same content under the label raw.
			refusedBy(t, r, r.Match("raw"), "declared as raw")
			for _, part := range []int{1, 5, 9} {
				if tt.name == "vhd fixed" || tt.format == VHDX && part == 9 {
					continue // the end of the data is not written in the header
				}
				if r, err := inspect(t, b[:len(b)*part/10]); err == nil {
					t.Errorf("cut to %d/10: accepted as %+v", part, r)
				}
			}
			if tt.format != VDI && tt.name != "vhd fixed" {
				refused(t, b[:60], "")
			}
		})
	}
}

func TestLargeSparse(t *testing.T) {
	for _, size := range []string{"0", "1G", "3T"} {
		b := qemuImg(t, "create", "-q", "-f", "qcow2", "FILE", size)
		if r, err := inspect(t, b); err != nil || r.Format != QCOW2 {
			t.Errorf("qcow2 of %s: %+v, %v", size, r, err)
		}
	}
}

func TestSnapshotsInsideAreAccepted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "image")
	qemuImg(t, "convert", "-f", "raw", "-O", "qcow2", content(t), "FILE")
	for _, args := range [][]string{{"convert", "-f", "raw", "-O", "qcow2", content(t), file}, {"snapshot", "-c", "one", file}} {
		if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := inspect(t, b); err != nil || r.Format != QCOW2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRawKinds(t *testing.T) {
	mbr := make([]byte, 1<<20)
	copy(mbr[446:], []byte{0x80, 0, 2, 0, 0x83, 0xfe, 0xff, 0xff, 1, 0, 0, 0, 0xff, 7, 0, 0})
	mbr[510], mbr[511] = 0x55, 0xaa
	gpt := bytes.Clone(mbr)
	gpt[446], gpt[450] = 0, 0xee
	copy(gpt[512:], "EFI PART")
	kernel := make([]byte, 4096) // a boot signature without a sane table
	rnd := rand.NewChaCha8([32]byte{2})
	rnd.Read(kernel)
	kernel[446], kernel[510], kernel[511] = 7, 0x55, 0xaa
	iso := make([]byte, 64<<10)
	copy(iso[32768:], "\x01CD001\x01")
	iso[32768+80], iso[32768+129] = 32, 8 // 32 blocks of 2048
	hybrid := bytes.Clone(iso)
	copy(hybrid, mbr[:512])
	luks := append([]byte("LUKS\xba\xbe\x00\x02"), make([]byte, 8192)...)
	tests := []struct {
		name  string
		b     []byte
		f     Format
		table Table
	}{
		{"one byte", []byte{0}, Raw, NoTable},
		{"zeros", make([]byte, 100_000), Raw, NoTable},
		{"text", []byte("#!/bin/sh\necho hello\n"), Raw, NoTable},
		{"mbr", mbr, Raw, MBR},
		{"gpt", gpt, Raw, GPT},
		{"kernel", kernel, Raw, NoTable},
		{"iso", iso, ISO, NoTable},
		{"hybrid iso", hybrid, ISO, MBR},
		{"luks", luks, LUKS, NoTable},
	}
	for _, tt := range tests {
		r, err := inspect(t, tt.b)
		if err != nil || r.Format != tt.f || r.Table != tt.table || r.VirtualSize != int64(len(tt.b)) {
			t.Errorf("%s: %+v, %v", tt.name, r, err)
			continue
		}
		if err := r.Match("raw"); err != nil {
			t.Errorf("%s as raw: %v", tt.name, err)
		}
		if err := r.Match("qcow2"); err == nil {
			t.Errorf("%s as qcow2 was accepted", tt.name)
		}
	}
	refused(t, iso[:40<<10], "truncated")
	refused(t, nil, "empty")
}

func TestInspectReportsReadErrors(t *testing.T) {
	_, err := Inspect(failingReader{}, 100_000)
	var u *Unsafe
	if !errors.Is(err, io.ErrClosedPipe) || errors.As(err, &u) {
		t.Errorf("got %v", err)
	}
	if _, err := Inspect(bytes.NewReader(make([]byte, 10)), 100); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reader shorter than said: %v", err)
	}
}

type failingReader struct{}

func (failingReader) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func FuzzInspect(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := inspect(t, b)
		var u *Unsafe
		if err != nil && !errors.As(err, &u) {
			t.Fatalf("not an *Unsafe: %v", err)
		}
		if err == nil && (r.VirtualSize < 0 || r.Size != int64(len(b)) || r.Match(string(r.Format)) != nil) {
			t.Fatalf("accepted as %+v", r)
		}
	})
}
