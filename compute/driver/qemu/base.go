package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
	"github.com/tropocloud/tropo/lib/configdrive"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// Limits of qemu-img, which reads what users wrote (CVE-2015-5162): for a look
// at a header, and for work on a whole disk.
const (
	lookMemory = 1 * gib
	lookCPU    = 30 * time.Second
	workMemory = 4 * gib
	workCPU    = time.Hour
	workTime   = 2 * time.Hour
)

// qemuImg runs qemu-img. Callers name the format of every file.
func qemuImg(ctx context.Context, work bool, args ...string) ([]byte, error) {
	c := host.Command{Path: "qemu-img", Args: args, AddressSpace: lookMemory, CPU: lookCPU, Timeout: time.Minute}
	if work {
		c.AddressSpace, c.CPU, c.Timeout = workMemory, workCPU, workTime
	}
	return host.Run(ctx, c)
}

// qemuFormats are Glance's disk formats in QEMU's words. The first three lie
// under root disks as they are; the others are converted.
var qemuFormats = map[string]string{
	"raw": "raw", "ami": "raw", "qcow2": "qcow2", "iso": isoFormat,
	"vmdk": "vmdk", "vdi": "vdi", "vpc": "vpc", "vhd": "vpc", "vhdx": "vhdx",
}

// base returns the file that the root disk shall lie on and its format.
func (d *QEMU) base(ctx context.Context, img driver.Image) (path, format string, err error) {
	if img.Path == "" {
		return "", "", nil
	}
	path, err = filepath.Abs(img.Path)
	if err != nil {
		return "", "", err
	}
	format, ok := qemuFormats[img.Format]
	if !ok {
		return "", "", fault.Invalidf("The image format %q cannot be booted.", img.Format)
	}
	switch format {
	case "raw", "qcow2", isoFormat:
		return path, format, nil
	}
	converted := path + driver.ConvertedSuffix
	if _, err := os.Stat(converted); err == nil {
		return converted, "qcow2", nil
	}
	err = create(converted, func(part string) error {
		if _, err := qemuImg(ctx, true, "convert", "-f", format, "-O", "qcow2", path, part); err != nil {
			return err
		}
		return os.Chmod(part, 0o400)
	})
	return converted, "qcow2", err
}

// create makes the file at path in one step: it is there completely or not at
// all.
func create(path string, make func(part string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*")
	if err != nil {
		return err
	}
	f.Close()
	defer os.Remove(f.Name())
	if err := make(f.Name()); err != nil {
		return err
	}
	if err := syncFile(f.Name()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return driver.SyncDir(filepath.Dir(path))
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeDisks makes the guest's files that are not there yet. The config drive's
// content comes with Spawn only.
func (d *QEMU) makeDisks(ctx context.Context, g *guest, def *definition, drive map[string][]byte) error {
	f := def.Spec.Flavor
	if !g.has(rootFile) {
		if err := d.makeRoot(ctx, g, def); err != nil {
			return err
		}
	}
	if f.EphemeralGiB > 0 && !g.has(ephemeralFile) {
		if err := makeFilesystem(ctx, g.path(ephemeralFile), int64(f.EphemeralGiB)*gib, "mkfs.ext4", "-q", "-F", "-L", ephemeralNode); err != nil {
			return err
		}
	}
	if f.SwapMiB > 0 && !g.has(swapFile) {
		if err := makeFilesystem(ctx, g.path(swapFile), int64(f.SwapMiB)*mib, "mkswap"); err != nil {
			return err
		}
	}
	if len(drive) == 0 || g.has(configFile) {
		return nil
	}
	iso, err := configdrive.Build(drive)
	if err != nil {
		return err
	}
	return driver.WriteFile(g.path(configFile), iso, 0o600)
}

func (d *QEMU) makeRoot(ctx context.Context, g *guest, def *definition) error {
	size := int64(def.Spec.Flavor.RootGiB) * gib
	args := []string{"create", "-q", "-f", "qcow2"}
	if def.Base != "" && def.BaseFormat != isoFormat {
		least, err := virtualSize(ctx, def.Base, def.BaseFormat)
		if err != nil {
			return err
		}
		if size == 0 {
			size = least
		}
		if size < least {
			return fault.Invalidf("The flavor's disk is too small for the requested image. Flavor disk is %d bytes, image is %d bytes.", size, least)
		}
		args = append(args, "-b", def.Base, "-F", def.BaseFormat)
	}
	return create(g.path(rootFile), func(part string) error {
		_, err := qemuImg(ctx, false, append(args, part, strconv.FormatInt(size, 10))...)
		return err
	})
}

// virtualSize asks how large the disk in the file is, in bytes.
func virtualSize(ctx context.Context, path, format string) (int64, error) {
	if format == "raw" {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		return (info.Size() + 511) / 512 * 512, nil
	}
	out, err := qemuImg(ctx, false, "info", "-U", "--output=json", "-f", format, path)
	if err != nil {
		return 0, err
	}
	var info struct {
		VirtualSize int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		return 0, fmt.Errorf("qemu-img info: %w", err)
	}
	return info.VirtualSize, nil
}

// makeFilesystem makes a sparse file and formats it with the program, whose
// last argument is the file. The file is ours alone and empty.
func makeFilesystem(ctx context.Context, path string, size int64, program string, args ...string) error {
	return create(path, func(part string) error {
		if err := os.Truncate(part, size); err != nil {
			return err
		}
		_, err := host.Run(ctx, host.Command{Path: program, Args: append(args, part), Timeout: 5 * time.Minute})
		return err
	})
}
