package host

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The commands of SIOCETHTOOL that switch an offload (linux/ethtool.h).
const (
	ethtoolSRXCSUM = 0x15
	ethtoolSTXCSUM = 0x17
	ethtoolSTSO    = 0x1f
	ethtoolSGSO    = 0x24
	ethtoolSGRO    = 0x2c
)

// DisableOffload turns checksum and segmentation offload off. A switch that
// works in user space (OVS netdev) reads such packets with partial checksums,
// and drops them. What a driver cannot switch is left as it is; that transmit
// checksums stay on is an error.
func DisableOffload(netns, name string) error {
	return InNetns(netns, func() error {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("host: offload of %s: %w", name, err)
		}
		defer unix.Close(s)
		// Segmentation depends on transmit checksums: it goes first.
		for _, cmd := range []uint32{ethtoolSTSO, ethtoolSGSO, ethtoolSGRO, ethtoolSRXCSUM, ethtoolSTXCSUM} {
			err := ethtoolSet(s, name, cmd, 0)
			if err != nil && (cmd == ethtoolSTXCSUM || errors.Is(err, unix.ENODEV)) {
				return fmt.Errorf("host: offload of %s: %w", name, err)
			}
		}
		return nil
	})
}

func ethtoolSet(socket int, name string, cmd, value uint32) error {
	if len(name) >= unix.IFNAMSIZ {
		return unix.ENODEV
	}
	data := [2]uint32{cmd, value} // struct ethtool_value
	var req struct {              // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(&data)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return errno
	}
	return nil
}
