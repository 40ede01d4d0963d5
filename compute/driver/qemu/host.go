package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/compute/driver"
)

// Host implements driver.Driver.
func (d *QEMU) Host(ctx context.Context) (driver.Host, error) {
	if err := ctx.Err(); err != nil {
		return driver.Host{}, err
	}
	h := driver.Host{
		Hostname: d.conf.Hostname, HypervisorType: "QEMU", HypervisorVersion: d.machine.version,
		Accelerator: d.machine.accelerator, NeedsImage: true,
		ImageFormats: []string{"raw", "qcow2", "iso", "vmdk", "vdi", "vhd", "vhdx", "ami"},
		Traits: []string{
			"COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_ISO",
			"COMPUTE_IMAGE_TYPE_VMDK", "COMPUTE_IMAGE_TYPE_VDI", "COMPUTE_IMAGE_TYPE_VHD",
			"COMPUTE_IMAGE_TYPE_VHDX", "COMPUTE_IMAGE_TYPE_AMI", "COMPUTE_IMAGE_TYPE_AKI", "COMPUTE_IMAGE_TYPE_ARI",
			"COMPUTE_NET_ATTACH_INTERFACE", "COMPUTE_NET_VIF_MODEL_VIRTIO", "COMPUTE_STORAGE_BUS_VIRTIO",
			"COMPUTE_GRAPHICS_MODEL_VGA", "COMPUTE_NODE",
		},
	}
	var err error
	if h.Hostname == "" {
		if h.Hostname, err = os.Hostname(); err != nil {
			return h, internal(err, "The host could not be examined.")
		}
	}
	if h.MemoryMiB, err = hostMemory(); err != nil {
		return h, internal(err, "The host could not be examined.")
	}
	if h.CPU, h.VCPUs, err = hostCPU(); err != nil {
		return h, internal(err, "The host could not be examined.")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(d.conf.State, &fs); err != nil {
		return h, internal(err, "The host could not be examined.")
	}
	h.DiskGiB = int(fs.Blocks * uint64(fs.Bsize) / gib)
	h.FreeDiskGiB = int(fs.Bavail * uint64(fs.Bsize) / gib)
	return h, nil
}

func hostMemory() (mebibytes int, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, err := strconv.Atoi(fields[1])
			return kib / 1024, err
		}
	}
	return 0, errors.New("meminfo: no MemTotal")
}

// hostCPU reads /proc/cpuinfo; the number is of processors online.
func hostCPU() (driver.CPU, int, error) {
	cpu := driver.CPU{Arch: arch(), Sockets: 1, Cores: 1, Threads: 1}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return cpu, 0, err
	}
	defer f.Close()
	processors, sockets, siblings := 0, map[string]bool{}, 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "processor":
			processors++
		case "vendor_id":
			cpu.Vendor = value
		case "model name":
			cpu.Model = value
		case "physical id":
			sockets[value] = true
		case "siblings":
			siblings, _ = strconv.Atoi(value)
		case "cpu cores":
			cpu.Cores, _ = strconv.Atoi(value)
		case "flags", "Features":
			cpu.Features = strings.Fields(value)
		}
	}
	cpu.Sockets, cpu.Cores = max(1, len(sockets)), max(1, cpu.Cores)
	cpu.Threads = max(1, siblings/cpu.Cores)
	return cpu, max(1, processors), lines.Err()
}

// arch is the processor's name in OpenStack's spelling.
func arch() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	}
	return runtime.GOARCH
}

// clockTick is USER_HZ, which Linux fixes at 100 for /proc on all of QEMU's
// host architectures.
const clockTick = 10 * time.Millisecond

// processTimes reads a stat file of /proc: processor time used, and start of
// the process or thread since boot.
func processTimes(path string) (used, start time.Duration, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	// The second field is a name in parentheses that may hold anything.
	_, rest, ok := strings.Cut(string(text[max(0, strings.LastIndexByte(string(text), ')')):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, 0, fmt.Errorf("%s: unknown form", path)
	}
	var n [3]int64
	for i, f := range []int{11, 12, 19} { // utime, stime, starttime
		if n[i], err = strconv.ParseInt(fields[f], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	return time.Duration(n[0]+n[1]) * clockTick, time.Duration(n[2]) * clockTick, nil
}

// sinceBoot is the clock that process start times are given in.
func sinceBoot() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}
