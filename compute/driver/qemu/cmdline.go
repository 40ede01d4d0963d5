package qemu

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/compute/driver"
)

// launch is what a start adds to the definition.
type launch struct {
	dir      string
	machine  machine
	incoming bool // wait for saved memory
}

// Descriptors that QEMU inherits: listening sockets, so that a connection can be
// made before QEMU is up, and fails when QEMU is not going to be.
const (
	qmpFD    = 3
	serialFD = 4
)

// firstPortSlot is the PCI slot of the first group of eight root ports.
const firstPortSlot = 0x10

// kernelArgs boots from the first disk with consoles on screen and serial port.
const kernelArgs = "root=/dev/vda console=tty0 console=ttyS0"

// commandLine returns QEMU's arguments. Relative file names are relative to the
// guest's directory: socket addresses are short whatever the state directory is.
func commandLine(def *definition, l launch) []string {
	s := def.Spec
	args := []string{
		"-name", "guest=" + s.ID + ",debug-threads=on",
		"-uuid", s.ID,
		"-machine", "q35,usb=off,accel=" + l.machine.accelerator,
		"-cpu", l.machine.cpuModel,
		"-m", fmt.Sprintf("size=%dM", s.Flavor.MemoryMiB),
		"-smp", fmt.Sprintf("cpus=%d,sockets=%d,cores=1,threads=1", s.Flavor.VCPUs, s.Flavor.VCPUs),
		// cloud-init knows an OpenStack guest by this product name.
		"-smbios", "type=1,manufacturer=tropo,product=OpenStack Compute,uuid=" + s.ID + ",serial=" + s.ID + ",family=Virtual Machine",
		"-no-user-config", "-nodefaults",
		"-rtc", "base=utc,driftfix=slew",
		"-boot", "strict=on",
		"-pidfile", pidFile,
		"-msg", "timestamp=on",
		"-S",
	}
	if l.machine.sandbox {
		args = append(args, "-sandbox", sandboxArgs)
	}
	if l.incoming {
		args = append(args, "-incoming", "defer")
	}
	args = append(args, kernelLine(def)...)
	args = append(args, chardevs()...)
	args = append(args, rootPorts(def.RootPorts)...)
	args = append(args,
		"-vnc", "unix:"+vncSocket,
		"-device", "VGA,id=video0",
		"-device", "qemu-xhci,id=usb0",
		"-device", "usb-tablet,id=tablet0,bus=usb0.0",
		"-object", "rng-random,id=rng0,filename=/dev/urandom",
		"-device", "virtio-rng-pci,id=rngdev0,rng=rng0",
		"-device", "virtio-balloon-pci,id=balloon0",
	)
	for _, disk := range disks(def, l.dir) {
		args = append(args, disk.arguments()...)
	}
	for _, v := range s.VIFs {
		args = append(args, "-netdev", text(netdev(v)), "-device", text(nic(v, def.Slots[v.PortID])))
	}
	return args
}

func kernelLine(def *definition) []string {
	s := def.Spec
	if r := def.Rescue; r != nil {
		s.Kernel, s.Ramdisk, s.KernelArgs = r.Kernel, r.Ramdisk, r.KernelArgs
	}
	if s.Kernel == "" {
		return nil
	}
	line := s.KernelArgs
	if line == "" {
		line = kernelArgs
	}
	args := []string{"-kernel", s.Kernel, "-append", line}
	if s.Ramdisk != "" {
		args = append(args, "-initrd", s.Ramdisk)
	}
	return args
}

// chardevs are the monitor and the serial port. The port's output goes to the
// log whether or not a console is connected.
func chardevs() []string {
	return []string{
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", qmpFD),
		"-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=serial0,fd=%d,server=on,wait=off,logfile=%s,logappend=on", serialFD, consoleFile),
		"-device", "isa-serial,id=serialdev0,chardev=serial0",
	}
}

// rootPorts are where interfaces are plugged: q35's own slots take no hot-plug.
func rootPorts(n int) []string {
	var args []string
	for i := range n {
		slot := fmt.Sprintf("%#x.%d", firstPortSlot+i/8, i%8)
		device := fmt.Sprintf("pcie-root-port,id=%s,chassis=%d,addr=%s", rootPort(i), i+1, slot)
		if i%8 == 0 {
			device += ",multifunction=on"
		}
		args = append(args, "-device", device)
	}
	return args
}

func rootPort(slot int) string { return "rp" + strconv.Itoa(slot) }

// properties are the arguments of netdev_add, device_add or blockdev-add.
type properties map[string]any

// text writes properties in the JSON form of -netdev, -device and -blockdev,
// where nothing needs quoting and keys are in order.
func text(p properties) string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // only strings, numbers and booleans go in
	}
	return string(b)
}

// netdev opens the tap that is already plugged.
func netdev(v driver.VIF) properties {
	return properties{
		"type": "tap", "id": netdevID(v.PortID), "ifname": v.Device(),
		"script": "no", "downscript": "no", "vnet_hdr": v.Offload(),
	}
}

func nic(v driver.VIF, slot int) properties {
	p := properties{
		"driver": "virtio-net-pci", "id": nicID(v.PortID), "netdev": netdevID(v.PortID),
		"mac": strings.ToLower(v.MAC), "bus": rootPort(slot),
	}
	if v.MTU > 0 {
		p["host_mtu"] = v.MTU
	}
	return p
}

func netdevID(portID string) string { return "net-" + portID }
func nicID(portID string) string    { return "nic-" + portID }
