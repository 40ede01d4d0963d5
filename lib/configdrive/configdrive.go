// Package configdrive makes the disk that hands a guest its metadata: a small
// ISO 9660 file system with the label "config-2", as described by OpenStack's
// metadata documentation ("Config drives").
package configdrive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Label is the volume label by which guests find the drive.
const Label = "config-2"

// MaxSize bounds the sum of the files in bytes; Nova's drives are 64 MiB.
const MaxSize = 64 << 20

// ErrTooLarge says that the files are more than MaxSize.
var ErrTooLarge = errors.New("configdrive: content is too large")

// OpenStack are the documents of a drive, each complete as the guest shall read
// it; those that are nil are left out.
type OpenStack struct {
	MetaData    []byte // meta_data.json
	NetworkData []byte // network_data.json
	UserData    []byte // user_data, any bytes
	VendorData  []byte // vendor_data.json
	VendorData2 []byte // vendor_data2.json
	EC2MetaData []byte // the EC2 form of the metadata
	// Content are the injected files that meta_data.json refers to, by their
	// name in openstack/content ("0000").
	Content map[string][]byte
}

// Files returns the drive's files by path.
func (o OpenStack) Files() map[string][]byte {
	files := map[string][]byte{}
	for name, data := range map[string][]byte{
		"openstack/latest/meta_data.json":    o.MetaData,
		"openstack/latest/network_data.json": o.NetworkData,
		"openstack/latest/user_data":         o.UserData,
		"openstack/latest/vendor_data.json":  o.VendorData,
		"openstack/latest/vendor_data2.json": o.VendorData2,
		"ec2/latest/meta-data.json":          o.EC2MetaData,
	} {
		if data != nil {
			files[name] = data
		}
	}
	if o.EC2MetaData != nil && o.UserData != nil {
		files["ec2/latest/user-data"] = o.UserData
	}
	for name, data := range o.Content {
		files["openstack/content/"+name] = data
	}
	return files
}

// Build returns the image of a drive with these files, by slash-separated
// relative path, readable with Rock Ridge and with Joliet. It needs room in the
// directory for temporary files, which it leaves clean.
func Build(files map[string][]byte) ([]byte, error) {
	work, err := os.MkdirTemp("", "configdrive")
	if err != nil {
		return nil, fmt.Errorf("configdrive: %w", err)
	}
	defer os.RemoveAll(work)
	tree := filepath.Join(work, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, fmt.Errorf("configdrive: %w", err)
	}
	if err := lay(tree, files); err != nil {
		return nil, err
	}
	image := filepath.Join(work, "image")
	if err := finalize(image, tree); err != nil {
		return nil, fmt.Errorf("configdrive: %w", err)
	}
	data, err := os.ReadFile(image)
	if err != nil {
		return nil, fmt.Errorf("configdrive: %w", err)
	}
	return complete(data)
}

// block is the logical block size of the file system.
const block = 2048

// complete pads the image to the size that its volume descriptor claims, and
// gives the Joliet descriptor the same size in blocks: the library writes it
// in bytes there, and ends the image with the last file's last byte.
func complete(iso []byte) ([]byte, error) {
	const primary, joliet, sizeField = 16 * block, 17 * block, 80
	if len(iso) < 18*block || iso[primary] != 1 || iso[joliet] != 2 {
		return nil, errors.New("configdrive: unexpected volume descriptors")
	}
	copy(iso[joliet+sizeField:joliet+sizeField+8], iso[primary+sizeField:])
	blocks := int(binary.LittleEndian.Uint32(iso[primary+sizeField:]))
	size := max(blocks*block, (len(iso)+block-1)/block*block)
	return append(iso, make([]byte, size-len(iso))...), nil
}

// lay writes the files below dir. Names are checked here too, as they become
// paths of this host for a moment.
func lay(dir string, files map[string][]byte) error {
	total := 0
	for name, data := range files {
		if !fs.ValidPath(name) || name == "." || strings.Contains(name, "\\") {
			return fmt.Errorf("configdrive: bad file name %q", name)
		}
		if total += len(data); total > MaxSize {
			return ErrTooLarge
		}
		target := filepath.Join(dir, filepath.FromSlash(path.Clean(name)))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return fmt.Errorf("configdrive: %w", err)
		}
		if err := os.WriteFile(target, data, 0o644); err != nil {
			return fmt.Errorf("configdrive: %w", err)
		}
	}
	return nil
}

func finalize(image, tree string) error {
	f, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	iso, err := iso9660.Create(file.New(f, false), 0, 0, 2048, tree)
	if err != nil {
		return err
	}
	err = iso.Finalize(iso9660.FinalizeOptions{RockRidge: true, Joliet: true, VolumeIdentifier: Label})
	if err != nil {
		return err
	}
	return f.Sync()
}
