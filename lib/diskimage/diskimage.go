// Package diskimage tells what a disk image is from its own bytes, and whether
// it is safe to hand to a program that opens disk images.
//
// Several formats can name other files: a qcow2 its backing or data file, a
// VMDK its extents. Whoever opens such an image on a host reads the files that
// its author chose. So nothing opens an image before this package has accepted
// it, and later openers are told the format that was found, never asked to
// guess. An image that more than one reader could understand differently (a
// polyglot) is refused for the same reason.
//
// The inspector reads headers and tables only, in one pass over a stream, with
// bounded memory. It accepts less than the formats allow: what is unknown or
// needs another file is refused.
package diskimage

import (
	"errors"
	"fmt"
	"io"
)

// Format is a disk image format, in the spelling of the Image API.
type Format string

// The formats that are recognized. Those without comment can be accepted.
const (
	Raw   Format = "raw" // anything that is no other format
	QCOW2 Format = "qcow2"
	VMDK  Format = "vmdk"
	VDI   Format = "vdi"
	VHD   Format = "vhd"
	VHDX  Format = "vhdx"
	ISO   Format = "iso"
	LUKS  Format = "luks" // an encrypted disk: raw to whoever lacks the key

	QED       Format = "qed"       // always refused
	Parallels Format = "parallels" // always refused
	Bochs     Format = "bochs"     // always refused
	Cloop     Format = "cloop"     // always refused
	DMG       Format = "dmg"       // always refused
)

// Table is the kind of a raw disk's partition table.
type Table string

// The partition tables that are recognized.
const (
	NoTable Table = ""
	MBR     Table = "mbr"
	GPT     Table = "gpt"
)

// Result describes an accepted image.
type Result struct {
	Format Format
	// VirtualSize is the size in bytes of the disk that a guest sees.
	VirtualSize int64
	// Size is the size in bytes of the image itself.
	Size int64
	// Table is the partition table of a Raw, LUKS, ISO or fixed VHD disk.
	Table Table
	// Describes says that a Raw image holds words of a VMDK descriptor in its
	// first MiB: a reader that is told to take it for a VMDK may follow them.
	Describes bool
}

// MaxVirtualSize bounds a disk: 1 PiB. Larger ones are a mistake or an attack
// on whoever allocates tables for them.
const MaxVirtualSize = 1 << 50

// Unsafe says why an image is refused. The reason is for its owner.
type Unsafe struct {
	Format Format // as far as it was recognized
	Reason string
}

// Error returns the format and the reason.
func (u *Unsafe) Error() string {
	return fmt.Sprintf("image refused: %s: %s", u.Format, u.Reason)
}

func unsafef(f Format, format string, args ...any) error {
	return &Unsafe{Format: f, Reason: fmt.Sprintf(format, args...)}
}

// Inspect reads what it needs of the image in r, which is size bytes long. The
// error is an *Unsafe, or one of r's.
func Inspect(r io.ReaderAt, size int64) (Result, error) {
	in := NewInspector()
	in.head = make([]byte, min(size, headSize))
	if err := readAt(r, in.head, 0); err != nil {
		return Result{}, err
	}
	in.pos = size
	in.scan = make([]byte, min(size, scanSize))
	if err := readAt(r, in.scan, 0); err != nil {
		return Result{}, err
	}
	in.start()
	for in.err == nil && len(in.pending) > 0 {
		g := in.pending[0]
		in.pending = in.pending[1:]
		g.buf = make([]byte, max(0, min(int64(g.size), size-g.off)))
		if err := readAt(r, g.buf, g.off); err != nil {
			return Result{}, err
		}
		in.settle(g)
	}
	in.tail = make([]byte, min(size, tailSize))
	if err := readAt(r, in.tail, size-int64(len(in.tail))); err != nil {
		return Result{}, err
	}
	return in.Finish()
}

func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) || errors.Is(err, io.EOF) {
		if n < len(p) {
			return fmt.Errorf("read image: %w", io.ErrUnexpectedEOF)
		}
		return nil
	}
	return fmt.Errorf("read image: %w", err)
}

// Match checks the format that the image's owner declared, in the spelling of
// the Image API, against what was found. The error is an *Unsafe.
//
// A disk labelled raw may hold an ISO 9660 file system or LUKS, as those are
// not opened as images; it may not hold another image format, or a later tool
// that guesses would open it as that.
func (r Result) Match(declared string) error {
	switch declared {
	case "raw", "ami", "ari", "aki":
		if r.Format == Raw || r.Format == ISO || r.Format == LUKS {
			return nil
		}
	case "vpc":
		declared = string(VHD)
	}
	if Format(declared) != r.Format {
		return unsafef(r.Format, "declared as %s, but the content is %s", declared, r.Format)
	}
	return nil
}
