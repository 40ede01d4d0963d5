package agent

import (
	"errors"
	"os"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/diskimage"
)

// Inspect judges a fetched image by its own bytes before any tool opens it
// (threats 1, 2, 3): Options.Inspect of hosts with real guests. What it finds,
// never what the image's owner said, is the format that tools are told.
func Inspect(path string) (driver.Inspection, error) {
	f, err := os.Open(path)
	if err != nil {
		return driver.Inspection{}, fault.Wrap(fault.Internal, err, "The image could not be read on the host.")
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return driver.Inspection{}, fault.Wrap(fault.Internal, err, "The image could not be read on the host.")
	}
	found, err := diskimage.Inspect(f, info.Size())
	var unsafe *diskimage.Unsafe
	if errors.As(err, &unsafe) {
		return driver.Inspection{}, fault.Wrap(fault.Invalid, err, "The image is refused: %s", unsafe.Error())
	}
	if err != nil {
		return driver.Inspection{}, fault.Wrap(fault.Internal, err, "The image could not be read on the host.")
	}
	format := found.Format
	if format == diskimage.LUKS { // to the host a disk like any other
		format = diskimage.Raw
	}
	return driver.Inspection{Format: string(format), VirtualSize: found.VirtualSize}, nil
}
