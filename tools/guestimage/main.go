// Command guestimage builds a small guest image from Debian packages: kernel,
// busybox, dropbear and a few scripts on a DOS-labelled disk that boots by
// BIOS. It needs neither root nor loop devices, and installs nothing.
//
//	go run ./tools/guestimage -o guest.qcow2
//	go run ./tools/guestimage -kernel vmlinuz -initrd initrd.gz
//
// README.md says what the guest does; packages.txt which Debian packages the
// builder itself needs.
package main

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

//go:embed all:rootfs all:initrd
var scripts embed.FS

// sources are part of the cache key: a changed builder builds again.
//
//go:embed *.go
var sources embed.FS

// options are the command line.
type options struct {
	disk   string // qcow2 disk image, "" for none
	kernel string // kernel image, "" for none
	initrd string // self-contained ramdisk, "" for none
	cache  string // downloaded packages
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.StringVar(&o.disk, "o", "", "write a qcow2 disk image to `FILE`")
	flag.StringVar(&o.kernel, "kernel", "", "write the kernel to `FILE`")
	flag.StringVar(&o.initrd, "initrd", "", "write a ramdisk that needs no disk to `FILE`")
	flag.StringVar(&o.cache, "cache", defaultCache(), "keep downloaded packages in `DIR`")
	flag.Parse()
	if flag.NArg() > 0 || o.disk == "" && o.kernel == "" && o.initrd == "" {
		flag.Usage()
		os.Exit(2)
	}
	built, err := build(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guestimage:", err)
		stop()
		os.Exit(1)
	}
	for _, f := range o.outputs() {
		fi, err := os.Stat(f)
		if err != nil {
			continue
		}
		state := "up to date"
		if built {
			state = "built"
		}
		fmt.Printf("%s: %s, %.1f MB\n", f, state, float64(fi.Size())/1e6)
	}
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "tropo", "guestimage")
}

func (o options) outputs() []string {
	var files []string
	for _, f := range []string{o.disk, o.kernel, o.initrd} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// build makes what o asks for, and reports false if all of it was there
// already, made from the same packages by the same builder.
func build(ctx context.Context, o options) (bool, error) {
	pkgs, err := resolve(ctx)
	if err != nil {
		return false, err
	}
	key, err := cacheKey(pkgs)
	if err != nil {
		return false, err
	}
	if fresh(o.outputs(), key) {
		return false, nil
	}
	if err := download(ctx, o.cache, pkgs); err != nil {
		return false, err
	}
	src, err := unpack(ctx, o.cache, pkgs)
	if err != nil {
		return false, err
	}
	root, err := newRoot(src)
	if err != nil {
		return false, err
	}
	for _, out := range []struct {
		file string
		make func(context.Context, string) error
	}{
		{o.disk, func(ctx context.Context, f string) error { return makeDisk(ctx, f, src, root) }},
		{o.kernel, func(_ context.Context, f string) error { return os.WriteFile(f, src.kernel, 0o644) }},
		{o.initrd, func(_ context.Context, f string) error { return writeRamdisk(f, fullRamdisk(src, root)) }},
	} {
		if out.file == "" {
			continue
		}
		if err := replace(ctx, out.file, key, out.make); err != nil {
			return false, err
		}
	}
	return true, nil
}

// replace makes file beside its final place and moves it there when complete,
// so that a killed build leaves the old image or none.
func replace(ctx context.Context, file, key string, make func(context.Context, string) error) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	part := file + ".part"
	defer os.Remove(part)
	if err := make(ctx, part); err != nil {
		return fmt.Errorf("make %s: %w", file, err)
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	return os.WriteFile(stamp(file), []byte(key+"\n"), 0o644)
}
