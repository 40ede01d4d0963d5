package manager

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// image is what is asked of an image before a server is made of it.
type image struct {
	ID      string
	Name    string
	Status  string
	Owner   string
	Size    int64
	MinDisk int // GiB
	MinRAM  int // MiB
	Format  string
	Props   map[string]string // everything else that is text
}

// UnmarshalJSON reads Glance's flat document.
func (i *image) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	text := func(k string) string {
		var s string
		_ = json.Unmarshal(all[k], &s) // null and other types: ""
		delete(all, k)
		return s
	}
	number := func(k string) int64 {
		var n int64
		_ = json.Unmarshal(all[k], &n)
		delete(all, k)
		return n
	}
	*i = image{
		ID: text("id"), Name: text("name"), Status: text("status"), Owner: text("owner"), Format: text("disk_format"),
		Size: number("size"), MinDisk: int(number("min_disk")), MinRAM: int(number("min_ram")), Props: map[string]string{},
	}
	for _, k := range []string{"container_format", "visibility", "checksum", "created_at", "updated_at", "self", "file", "schema", "os_hash_algo", "os_hash_value", "direct_url", "stores"} {
		delete(all, k)
	}
	for k := range all {
		if s := text(k); s != "" {
			i.Props[k] = s
		}
	}
	return nil
}

// bootImage returns the image that a server is to be made of, checked against
// its flavor.
func (m *Manager) bootImage(ctx context.Context, id string, f *compute.Flavor) (*image, error) {
	p, err := m.peer(ctx, "image", asCaller)
	if err != nil {
		return nil, err
	}
	i, err := seenImage(ctx, p, id)
	if err != nil {
		return nil, err
	}
	// Its kernel and ramdisk are read for it by the host, which may read all
	// images, and its owner says which they are: the caller must see them.
	for _, name := range []string{"kernel_id", "ramdisk_id"} {
		if part := i.Props[name]; part != "" {
			if _, err := seenImage(ctx, p, part); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case i.Status != "active":
		return nil, fault.Invalidf("Image %s is not active.", id)
	case i.MinRAM > f.MemoryMB:
		return nil, fault.Invalidf("Flavor's memory is too small for requested image.")
	case f.RootGB > 0 && i.MinDisk > f.RootGB:
		return nil, fault.Invalidf("Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is %d bytes, minimum size is %d bytes.", int64(f.RootGB)<<30, int64(i.MinDisk)<<30)
	case f.RootGB > 0 && i.Size > int64(f.RootGB)<<30:
		return nil, fault.Invalidf("Flavor's disk is too small for requested image. Flavor disk is %d bytes, image is %d bytes.", int64(f.RootGB)<<30, i.Size)
	}
	return i, nil
}

// seenImage is an image that the caller may see.
func seenImage(ctx context.Context, p *peer, id string) (*image, error) {
	var i image
	if err := p.get(ctx, "images/"+segment(id), &i); err != nil {
		if isMissing(err) || fault.Is(err, fault.Forbidden) {
			return nil, fault.Invalidf("Can not find requested image")
		}
		return nil, err
	}
	return &i, nil
}

// newImage makes the empty image that a server's disk will be copied into; the
// id was chosen and stored before, so that a retry finds it. All requests for an
// image are one: one that was given up and is handled late makes no other.
func (m *Manager) newImage(ctx context.Context, id, name string, s *compute.Server, props map[string]string, who as) error {
	p, err := m.peer(ctx, "image", who)
	if err != nil {
		return err
	}
	in := doc{
		"id": id, "name": name, "disk_format": m.conf.DiskFormat, "container_format": "bare", "visibility": "private",
		"min_disk": s.RootGB, "min_ram": s.Spec.ImageMinRAM,
		"image_type": "snapshot", "instance_uuid": s.ID, "user_id": s.UserID, "owner_project_name": "", "base_image_ref": s.ImageID,
	}
	delete(in, "owner_project_name")
	if in["disk_format"] == "" {
		in["disk_format"] = "qcow2"
	}
	if who == asService {
		in["owner"] = s.ProjectID
	}
	for k, v := range s.Spec.ImageProps {
		if _, taken := in[k]; !taken && inheritable(k) {
			in[k] = v
		}
	}
	for k, v := range props {
		in[k] = v
	}
	err = p.doWith(ctx, http.MethodPost, "images", in, nil, map[string]string{rest.IdempotencyKey: "image " + id})
	if fault.Is(err, fault.Conflict) {
		return nil // made before
	}
	return err
}

// inheritable reports whether an image property goes from a server's image to
// its snapshots: those of the hardware and the operating system do.
func inheritable(k string) bool {
	for _, p := range []string{"hw_", "os_distro", "os_version", "os_type", "os_admin_user", "img_", "architecture", "trait:", "kernel_id", "ramdisk_id"} {
		if len(k) >= len(p) && k[:len(p)] == p {
			return true
		}
	}
	return false
}

// dropImage removes an image unless it is whole.
func (m *Manager) dropImage(ctx context.Context, id string, whole bool) error {
	if id == "" {
		return nil
	}
	p, err := m.peer(ctx, "image", asService)
	if err != nil {
		return err
	}
	if !whole {
		var i image
		err := p.get(ctx, "images/"+segment(id), &i)
		if isMissing(err) || err == nil && i.Status == "active" {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return p.remove(ctx, "images/"+segment(id))
}

func atoi(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return n, nil
}
