package configdrive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"

	"github.com/tropocloud/tropo/lib/configdrive"
)

func TestBuild(t *testing.T) {
	files := configdrive.OpenStack{
		MetaData: []byte(`{"uuid":"1"}`), NetworkData: []byte(`{}`), UserData: bytes.Repeat([]byte{0, 1, 2, 255}, 50000),
		VendorData: []byte(`{}`), EC2MetaData: []byte(`{}`), Content: map[string][]byte{"0000": []byte("injected")},
	}.Files()
	if len(files) != 7 {
		t.Fatalf("%d files", len(files))
	}
	// Whole and nearly whole blocks, and an empty file.
	for _, n := range []int{0, 1, 2047, 2048, 2049, 4096, 6144} {
		files[fmt.Sprintf("openstack/latest/sized-%d", n)] = bytes.Repeat([]byte{byte(n%251 + 1)}, n)
	}
	iso := build(t, files)
	if got := string(bytes.TrimRight(iso[16*2048+40:16*2048+72], " \x00")); got != configdrive.Label {
		t.Fatalf("label %q", got)
	}
	if len(iso)%2048 != 0 {
		t.Fatalf("%d bytes are no whole number of blocks", len(iso))
	}
	volume := open(t, iso)
	if got := strings.TrimRight(volume.Label(), " \x00"); got != configdrive.Label {
		t.Fatalf("label %q", got)
	}
	for name, want := range files {
		f, err := volume.OpenFile("/"+name, os.O_RDONLY)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}

// Guests without Rock Ridge see the long names too.
func TestJolietNames(t *testing.T) {
	iso := build(t, map[string][]byte{"openstack/latest/meta_data.json": []byte("{}")})
	var ucs2 []byte
	for _, c := range []byte("meta_data.json") {
		ucs2 = append(ucs2, 0, c)
	}
	if !bytes.Contains(iso, ucs2) {
		t.Fatal("no Joliet name")
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, name := range []string{"", ".", "/etc/passwd", "../x", "a/../../x", "a//b", `a\b`} {
		if _, err := configdrive.Build(map[string][]byte{name: nil}); err == nil {
			t.Errorf("took the name %q", name)
		}
	}
	big := map[string][]byte{"a": make([]byte, configdrive.MaxSize), "b": {1}}
	if _, err := configdrive.Build(big); !errors.Is(err, configdrive.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func build(t *testing.T, files map[string][]byte) []byte {
	t.Helper()
	iso, err := configdrive.Build(files)
	if err != nil {
		t.Fatal(err)
	}
	return iso
}

func open(t *testing.T, iso []byte) *iso9660.FileSystem {
	t.Helper()
	path := filepath.Join(t.TempDir(), "drive.iso")
	if err := os.WriteFile(path, iso, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	volume, err := iso9660.Read(file.New(f, true), int64(len(iso)), 0, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return volume
}
