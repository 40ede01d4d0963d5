package qemu

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
)

// bootSector is testdata/guest.asm, assembled.
const bootSector = "fa31c08ed88ed0bc007cbe587cbaf803ac84c07403eeebf8ba0206b80001effb" +
	"f4faba0006edf6c40175236631dbbad00c6689d866efbac40c66ed6685c07405" +
	"bac80c66ef664383fb4072e2ebd1ba0406b80020eff4ebfd6775657374206973" +
	"2075700d0a00"

// guestImage is a raw disk of 1 MiB that boots the test guest.
func guestImage(t *testing.T) driver.Image {
	t.Helper()
	disk := make([]byte, 1<<20)
	code, err := hex.DecodeString(bootSector)
	if err != nil {
		t.Fatal(err)
	}
	copy(disk, code)
	disk[510], disk[511] = 0x55, 0xaa
	copy(disk[1<<19:], "marker of the image")
	img := driver.Image{ID: uuid.NewString(), Path: filepath.Join(t.TempDir(), "image"), Format: "raw", VirtualSize: 1 << 20}
	if err := os.WriteFile(img.Path, disk, 0o400); err != nil {
		t.Fatal(err)
	}
	return img
}
