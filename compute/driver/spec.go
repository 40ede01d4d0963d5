package driver

import (
	"net"
	"path"
	"regexp"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// Spec is all that a driver must know to make a guest.
type Spec struct {
	ID       string // server id, a UUID; also the guest's SMBIOS UUID
	Name     string // display name, any text
	Hostname string
	Flavor   Flavor
	Image    Image
	// Kernel and Ramdisk are files to boot directly (Glance's aki and ari);
	// empty: the guest boots from its disk.
	Kernel, Ramdisk string
	// KernelArgs is the kernel's command line, with Kernel only; empty: a
	// line that boots from the first disk with a console on the serial port.
	KernelArgs string
	VIFs       []VIF
	// ConfigDrive is the content of the config drive by path
	// ("openstack/latest/meta_data.json"); empty: the guest has none.
	ConfigDrive map[string][]byte
	// Metadata is kept with the definition for operators; guests don't see it.
	Metadata map[string]string
}

// Flavor is the size of a guest.
type Flavor struct {
	VCPUs        int
	MemoryMiB    int
	RootGiB      int // 0: as large as the image
	EphemeralGiB int // 0: none
	SwapMiB      int // 0: none
}

// Image is the data that the root disk starts from. Its file was fetched and
// inspected by the agent: no backing file, no external data, and Format is what
// the inspection found, never what the image's owner said.
type Image struct {
	ID          string
	Path        string // in the host's ImageCache; empty: a blank root disk
	Format      string // raw, qcow2, vmdk, vdi, vpc, vhdx or iso
	VirtualSize int64  // bytes
}

// Rescue is what a guest is booted from to repair its own disk.
type Rescue struct {
	Image Image
	// Kernel, Ramdisk and KernelArgs as in Spec; Kernel empty: from the
	// image's disk, whatever the guest boots from otherwise.
	Kernel, Ramdisk, KernelArgs string
}

// Validate checks r as Spec.Validate does.
func (r Rescue) Validate() error {
	if r.Image.Path != "" && !imageFormats[r.Image.Format] {
		return fault.Invalidf("The image format %q cannot be booted.", r.Image.Format)
	}
	if r.Ramdisk != "" && r.Kernel == "" {
		return fault.Invalidf("A ramdisk needs a kernel.")
	}
	return nil
}

// VIF is a network interface, as the port's binding describes it.
type VIF struct {
	PortID string
	MAC    string
	Type   string // binding:vif_type; "ovs"
	Bridge string // vif_details bridge_name
	// Datapath is vif_details datapath_type: with "netdev" frames pass a
	// userspace switch that needs complete checksums, so guest offloads are
	// off.
	Datapath string
	MTU      int // 0: the default of the link
}

// VIFTypeOVS is the binding:vif_type of a port of an Open vSwitch bridge.
const VIFTypeOVS = "ovs"

// Device is the name of the interface's tap device on the host, the same that
// Nova and Neutron use: "tap" and the first 11 characters of the port id.
func (v VIF) Device() string { return "tap" + v.PortID[:min(11, len(v.PortID))] }

// Offload reports whether the guest may leave checksums and segmentation to
// the host.
func (v VIF) Offload() bool { return v.Datapath != "netdev" }

var (
	uuidPattern   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	bridgePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$`)
)

// ValidID reports whether id is a UUID in lower case: only such ids ever become
// part of a path or a command line.
func ValidID(id string) bool { return uuidPattern.MatchString(id) }

// Validate checks the parts of s that drivers build paths and command lines
// from, as fault.Invalid.
func (s Spec) Validate() error {
	if !ValidID(s.ID) {
		return fault.Invalidf("The server id is not a UUID.")
	}
	if err := s.Flavor.Validate(); err != nil {
		return err
	}
	if s.Image.Path != "" && !imageFormats[s.Image.Format] {
		return fault.Invalidf("The image format %q cannot be booted.", s.Image.Format)
	}
	if s.Ramdisk != "" && s.Kernel == "" {
		return fault.Invalidf("A ramdisk needs a kernel.")
	}
	for _, v := range s.VIFs {
		if err := v.Validate(); err != nil {
			return err
		}
	}
	for name := range s.ConfigDrive {
		if name == "" || strings.HasPrefix(name, "/") || path.Clean(name) != name || strings.HasPrefix(name, "..") {
			return fault.Invalidf("The config drive cannot hold the file name %q.", name)
		}
	}
	return nil
}

var imageFormats = map[string]bool{
	"raw": true, "ami": true, "qcow2": true, "vmdk": true, "vdi": true, "vpc": true, "vhd": true, "vhdx": true, "iso": true,
}

// Validate checks the ranges, as fault.Invalid.
func (f Flavor) Validate() error {
	if f.VCPUs < 1 || f.VCPUs > 255 || f.MemoryMiB < 1 || f.RootGiB < 0 || f.EphemeralGiB < 0 || f.SwapMiB < 0 {
		return fault.Invalidf("The flavor's sizes are out of range.")
	}
	return nil
}

// Validate checks v, as fault.Invalid.
func (v VIF) Validate() error {
	if !ValidID(v.PortID) {
		return fault.Invalidf("The port id is not a UUID.")
	}
	mac, err := net.ParseMAC(v.MAC)
	if err != nil || len(mac) != 6 || mac[0]&1 == 1 {
		return fault.Invalidf("Port %s has no usable MAC address.", v.PortID)
	}
	if v.Type != VIFTypeOVS {
		return fault.Invalidf("Port %s has the unknown interface type %q.", v.PortID, v.Type)
	}
	if !bridgePattern.MatchString(v.Bridge) {
		return fault.Invalidf("Port %s names no usable bridge.", v.PortID)
	}
	if v.MTU != 0 && (v.MTU < 68 || v.MTU > 65521) {
		return fault.Invalidf("The MTU of port %s is out of range.", v.PortID)
	}
	return nil
}
