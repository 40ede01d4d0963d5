package manager

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tropocloud/tropo/fault"
)

// ImageDoc is an image as the image service shows it.
type ImageDoc struct {
	ID      string
	Name    string
	Status  string // of the image service: "active", "queued", …
	Size    *int64
	MinDisk int
	MinRAM  int
	Created time.Time
	Updated time.Time
	Props   map[string]string
}

// UnmarshalJSON reads the image service's flat document.
func (i *ImageDoc) UnmarshalJSON(b []byte) error {
	var flat image
	var more struct {
		Size    *int64    `json:"size"`
		Created time.Time `json:"created_at"`
		Updated time.Time `json:"updated_at"`
	}
	if err := json.Unmarshal(b, &flat); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &more); err != nil {
		return err
	}
	*i = ImageDoc{
		ID: flat.ID, Name: flat.Name, Status: flat.Status, Size: more.Size, MinDisk: flat.MinDisk, MinRAM: flat.MinRAM,
		Created: more.Created, Updated: more.Updated, Props: flat.Props,
	}
	return nil
}

// Images lists images; the query is the image service's.
func (m *Manager) Images(ctx context.Context, q url.Values) ([]ImageDoc, error) {
	p, err := m.peer(ctx, "image", asCaller)
	if err != nil {
		return nil, err
	}
	var out struct {
		Images []ImageDoc `json:"images"`
	}
	err = p.get(ctx, "images?"+q.Encode(), &out)
	return out.Images, err
}

// Image returns an image that the caller may see.
func (m *Manager) Image(ctx context.Context, id string) (*ImageDoc, error) {
	p, err := m.peer(ctx, "image", asCaller)
	if err != nil {
		return nil, err
	}
	var i ImageDoc
	if err := p.get(ctx, "images/"+segment(id), &i); err != nil {
		return nil, missingImage(err)
	}
	return &i, nil
}

func missingImage(err error) error {
	if isMissing(err) {
		return fault.New(fault.NotFound, "Image not found.")
	}
	return err
}

// DeleteImage removes an image.
func (m *Manager) DeleteImage(ctx context.Context, id string) error {
	p, err := m.peer(ctx, "image", asCaller)
	if err != nil {
		return err
	}
	return missingImage(p.do(ctx, http.MethodDelete, "images/"+segment(id), nil, nil))
}

// SetImageProps changes the properties of an image: set those of add, remove
// those named. What is there already in the wanted form is not sent.
func (m *Manager) SetImageProps(ctx context.Context, i *ImageDoc, set map[string]string, remove []string) error {
	var patch []doc
	for k, v := range set {
		op := "add"
		if have, ok := i.Props[k]; ok {
			if have == v {
				continue
			}
			op = "replace"
		}
		patch = append(patch, doc{"op": op, "path": "/" + pointer(k), "value": v})
	}
	for _, k := range remove {
		patch = append(patch, doc{"op": "remove", "path": "/" + pointer(k)})
	}
	if len(patch) == 0 {
		return nil
	}
	p, err := m.peer(ctx, "image", asCaller)
	if err != nil {
		return err
	}
	header := map[string]string{"Content-Type": "application/openstack-images-v2.1-json-patch"}
	return missingImage(p.doWith(ctx, http.MethodPatch, "images/"+segment(i.ID), patch, nil, header))
}

// pointer escapes a name as RFC 6901 §3 says.
func pointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
