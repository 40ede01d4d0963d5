package qemu

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/host"
)

// machine is what guests get on this host, found out once per driver.
type machine struct {
	accelerator string // "kvm" or "tcg"
	cpuModel    string
	sandbox     bool
	version     int // 7.2.1 is 7002001
}

// sandboxArgs lets QEMU start no program, gain no privilege and change no
// scheduling: a guest that breaks out finds a process that can do little.
const sandboxArgs = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// The probe guest takes about 0.1 s of processor time when it is emulated and a
// tenth of that on hardware.
const (
	probeLimit = time.Minute // for the accelerator that there must be
	kvmLeast   = time.Second // KVM gets at least this ...
	kvmFactor  = 3           // ... and this many times what emulation took just now
)

// probe finds the accelerator by really running a guest: /dev/kvm may exist and
// fail, or work so slowly that plain emulation is faster. Emulation goes first
// and sets the pace, so a busy host does not spoil the comparison.
func (d *QEMU) probe(ctx context.Context) (machine, error) {
	var m machine
	var err error
	if m.version, err = d.version(ctx); err != nil {
		return m, err
	}
	rom := filepath.Join(d.conf.State, "probe.rom")
	if err := os.WriteFile(rom, probeROM(), 0o600); err != nil {
		return m, fmt.Errorf("probe guest: %w", err)
	}
	defer os.Remove(rom)
	m.accelerator, m.cpuModel, m.sandbox = d.conf.Accelerator, d.conf.CPUModel, true
	if m.accelerator == "" {
		m.accelerator = "tcg"
	}
	start := time.Now()
	if err := d.probeGuest(ctx, rom, m.accelerator, true, probeLimit); err != nil {
		m.sandbox = false
		start = time.Now()
		if err := d.probeGuest(ctx, rom, m.accelerator, false, probeLimit); err != nil {
			return m, fmt.Errorf("probe guest with %s: %w", m.accelerator, err)
		}
		d.log.Warn("QEMU's sandbox does not work on this host: guests run without it", slog.Any("error", err))
	}
	if d.conf.Accelerator == "" {
		limit := max(kvmLeast, kvmFactor*time.Since(start))
		if err := d.probeGuest(ctx, rom, "kvm", m.sandbox, limit); err == nil {
			m.accelerator = "kvm"
		} else {
			d.log.Info("no usable KVM: guests are emulated", slog.Any("error", err))
		}
	}
	if m.cpuModel == "" {
		m.cpuModel = map[string]string{"kvm": "host", "tcg": "qemu64"}[m.accelerator]
	}
	return m, nil
}

// probeExit is how QEMU ends when the probe guest has written 0x10 to its exit
// device.
const probeExit = 0x10<<1 | 1

func (d *QEMU) probeGuest(ctx context.Context, rom, accelerator string, sandbox bool, limit time.Duration) error {
	args := []string{
		"-machine", "q35,usb=off", "-accel", accelerator, "-m", "16", "-no-user-config", "-nodefaults",
		"-display", "none", "-bios", rom, "-device", "isa-debug-exit,iobase=0x501",
	}
	if sandbox {
		args = append(args, "-sandbox", sandboxArgs)
	}
	_, err := host.Run(ctx, host.Command{Path: d.conf.Binary, Args: args, Timeout: limit})
	var exit *host.ExitError
	if errors.As(err, &exit) && exit.Code == probeExit {
		return nil
	}
	if err == nil {
		return errors.New("the probe guest did not run")
	}
	return err
}

// probeROM is probe.asm, assembled.
func probeROM() []byte {
	const code = "fa31c08ed88ec08ed0bc0070bf0010b9000c6631c066f3ab66c70600" +
		"100320000066c70600200330000066c70600308300000066b8001000" +
		"000f22d866b8200000000f22e066b9800000c00f32660d000100000f" +
		"30b800f08ed8660f0116a0000f20c0660d010000800f22c066ea7400" +
		"0f000800b9002d3101ffc975fcb01066ba0105eef4ebfd9000000000" +
		"0000000000000000009a20000000000000920000170088000f00"
	b, err := hex.DecodeString(code)
	if err != nil {
		panic(err) // a constant
	}
	rom := make([]byte, 64<<10)
	copy(rom, b)
	copy(rom[0xfff0:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0}) // ljmp f000:0000
	return rom
}

var versionPattern = regexp.MustCompile(`version (\d+)\.(\d+)\.(\d+)`)

func (d *QEMU) version(ctx context.Context) (int, error) {
	out, err := host.Run(ctx, host.Command{Path: d.conf.Binary, Args: []string{"--version"}})
	if err != nil {
		return 0, fmt.Errorf("qemu: %w", err)
	}
	m := versionPattern.FindStringSubmatch(string(out))
	if m == nil {
		return 0, fmt.Errorf("qemu: unknown version %q", strings.TrimSpace(string(out)))
	}
	n := 0
	for _, part := range m[1:] {
		v, err := strconv.Atoi(part)
		if err != nil {
			return 0, fmt.Errorf("qemu: version: %w", err)
		}
		n = n*1000 + v
	}
	return n, nil
}
