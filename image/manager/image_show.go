package manager

import (
	"context"
	"io"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// Image returns an image that the viewer may know of, and the viewer's
// membership where it has one.
func (m *Manager) Image(ctx context.Context, v image.Viewer, id string) (*image.Image, *image.Member, error) {
	i, err := m.store.Image(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	var member *image.Member
	if i.Visibility == image.Shared && v.Project != "" && !v.Owns(i) {
		member, err = m.store.Member(ctx, id, v.Project)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, nil, err
		}
		if err != nil {
			member = nil
		}
	}
	if !v.Sees(i, member != nil) {
		return nil, nil, fault.New(fault.NotFound, "No image found with ID %s", id)
	}
	return i, member, nil
}

// Images returns a page of images.
func (m *Manager) Images(ctx context.Context, v image.Viewer, f image.Filter, p db.Page) ([]image.Image, error) {
	return m.store.Images(ctx, v, f, p)
}

// Open reads length bytes of an image's data from offset on (all if negative).
func (m *Manager) Open(ctx context.Context, i *image.Image, offset, length int64) (io.ReadCloser, error) {
	return m.open(ctx, i.Store, i.DataKey, offset, length)
}

// Usage is what a project has and may have.
type Usage struct {
	Bytes, Staging    int64
	Images, Uploading int
}

// Usage counts what a project has.
func (m *Manager) Usage(ctx context.Context, project string) (Usage, error) {
	var u Usage
	var err error
	u.Bytes, u.Staging, u.Images, u.Uploading, err = m.store.Usage(ctx, project, "")
	return u, err
}
