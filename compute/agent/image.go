package agent

import (
	"context"
	"crypto/md5" //nolint:gosec // of a header, not a defence
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// imageDoc is what the image API tells of an image.
type imageDoc struct {
	Status   string  `json:"status"`
	HashAlgo string  `json:"os_hash_algo"`
	Hash     string  `json:"os_hash_value"`
	Format   *string `json:"disk_format"`
}

// fetchImage brings a server's image into the host's cache ahead of its spawn.
func (a *Agent) fetchImage(ctx context.Context, in compute.SpawnRequest) (struct{}, error) {
	ctx, end := a.cancellable(ctx, in.ServerID)
	defer end()
	var spec driver.Spec
	err := a.images(ctx, in, &spec)
	return struct{}{}, gone(ctx, err)
}

// images fills in where the server's image, kernel and ramdisk are on this
// host, fetching what is missing.
func (a *Agent) images(ctx context.Context, in compute.SpawnRequest, spec *driver.Spec) error {
	if in.ImageID == "" {
		return nil
	}
	if !a.host.NeedsImage {
		for _, n := range []int{20, 21, 22} {
			obs.Step(ctx, n, "", obs.Note(obs.NoteSkipped), obs.Detail("the driver needs no image data"))(nil)
		}
		spec.Image = driver.Image{ID: in.ImageID}
		return nil
	}
	img, err := a.image(ctx, in.ImageID)
	if err != nil {
		return err
	}
	if !slices.Contains(a.host.ImageFormats, img.Format) && img.Format != "" && len(a.host.ImageFormats) > 0 {
		return fault.Invalidf("The image has the format %s, which this host cannot boot.", img.Format)
	}
	spec.Image = img
	for id, path := range map[string]*string{in.KernelID: &spec.Kernel, in.RamdiskID: &spec.Ramdisk} {
		if id == "" {
			continue
		}
		part, err := a.image(ctx, id)
		if err != nil {
			return err
		}
		*path = part.Path
	}
	return nil
}

// image returns an image from the cache, fetching it where it is not there.
func (a *Agent) image(ctx context.Context, id string) (driver.Image, error) {
	fetched := false
	fctx, end := obs.StepContext(ctx, 22, "", obs.Detail(id))
	img, err := a.o.Cache.Fetch(fctx, id, func(ctx context.Context, w io.Writer) error {
		fetched = true
		return a.download(ctx, id, w)
	}, a.o.Inspect)
	end(err)
	if err == nil && !fetched {
		for _, n := range []int{20, 21} {
			obs.Step(ctx, n, "", obs.Note(obs.NoteCached), obs.Detail("the host has image "+id))(nil)
		}
	}
	return img, err
}

// download writes an image's data to w and checks its hash.
func (a *Agent) download(ctx context.Context, id string, w io.Writer) (err error) {
	sctx, end := obs.StepContext(ctx, 20, "", obs.Detail(id))
	c, err := a.o.Session.Service(sctx, "image")
	if err != nil {
		end(err)
		return err
	}
	var doc imageDoc
	_, err = c.Get(sctx, c.ServiceURL("images", id), &doc, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
	end(err)
	obs.Step(ctx, 21, "", obs.Note(obs.NoteInProcess), obs.Detail("checked as part of the request"))(err)
	if err != nil {
		return imageFault(err)
	}
	if doc.Status != "active" {
		return fault.Conflictf("Image %s is %s; it must be active.", id, doc.Status)
	}
	h := &hashWriter{w: w, h: newHash(doc.HashAlgo)}
	if err := a.readImage(ctx, id, h); err != nil {
		return err
	}
	if h.h != nil && doc.Hash != "" && hex.EncodeToString(h.h.Sum(nil)) != doc.Hash {
		return fault.Unavailablef("The data of image %s is not what was uploaded.", id)
	}
	return nil
}

// readTries bounds how many times in a row the reading of an image goes on
// without having got anything.
const readTries = 5

// readImage reads an image's data. When a control node dies meanwhile it goes on
// at the same place with another one.
func (a *Agent) readImage(ctx context.Context, id string, w *hashWriter) error {
	for tries := 0; ; tries++ {
		at := w.n
		done, err := a.readPart(ctx, id, w)
		if done || ctx.Err() != nil {
			return err
		}
		if w.n > at {
			tries = 0
		}
		if tries >= readTries || !fault.Is(err, fault.Unavailable) {
			return err
		}
		if !wait(ctx, 200*time.Millisecond<<tries, nil) {
			return ctx.Err()
		}
	}
}

// readPart reads on from where w is. done says that nothing is to be read any
// more, or that trying again does not help.
func (a *Agent) readPart(ctx context.Context, id string, w *hashWriter) (done bool, err error) {
	c, err := a.o.Session.Service(ctx, "image")
	if err != nil {
		return false, err
	}
	opts := &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK, http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable}, KeepResponseBody: true}
	if w.n > 0 {
		opts.MoreHeaders = map[string]string{"Range": fmt.Sprintf("bytes=%d-", w.n)}
	}
	res, err := c.Get(ctx, c.ServiceURL("images", id, "file"), nil, opts)
	if err != nil {
		return false, imageFault(err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusRequestedRangeNotSatisfiable: // all was read
		return true, nil
	case res.StatusCode == http.StatusOK && w.n > 0: // from the beginning again
		if _, err := io.CopyN(io.Discard, res.Body, w.n); err != nil {
			return false, fault.Wrap(fault.Unavailable, err, "The image could not be read completely.")
		}
	}
	if _, err := io.Copy(w, res.Body); err != nil {
		if w.err != nil { // the host's disk, not the image service
			return true, fault.Wrap(fault.Internal, w.err, "The image could not be stored on the host.")
		}
		return false, fault.Wrap(fault.Unavailable, err, "The image could not be read completely.")
	}
	return true, nil
}

func imageFault(err error) error {
	err = auth.Fault(err)
	if fault.Is(err, fault.NotFound) {
		return fault.Wrap(fault.Invalid, err, "The server's image could not be found.")
	}
	return err
}

// hashWriter counts what goes through it into a hash.
type hashWriter struct {
	w io.Writer
	h hash.Hash // nil: none
	n int64     // bytes so far
	// err is what w said.
	err error
}

// Write implements io.Writer.
func (h *hashWriter) Write(p []byte) (int, error) {
	if h.h != nil {
		h.h.Write(p)
	}
	n, err := h.w.Write(p)
	h.n += int64(n)
	h.err = err
	return n, err
}

func newHash(algo string) hash.Hash {
	switch algo {
	case "sha256":
		return sha256.New()
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return nil
}

// snapshot copies a guest's root disk into an image that waits for its data.
func (a *Agent) snapshot(ctx context.Context, in compute.SnapshotRequest) (struct{}, error) {
	ctx, end := a.cancellable(ctx, in.ServerID)
	defer end()
	err := a.upload(ctx, in)
	return struct{}{}, gone(ctx, err)
}

func (a *Agent) upload(ctx context.Context, in compute.SnapshotRequest) error {
	c, err := a.o.Session.Service(ctx, "image")
	if err != nil {
		return err
	}
	var doc imageDoc
	if _, err := c.Get(ctx, c.ServiceURL("images", in.ImageID), &doc, nil); err != nil {
		return auth.Fault(err)
	}
	switch doc.Status {
	case "active":
		return nil // uploaded before
	case "saving": // to a control node that died: it is taken back soon
		return fault.Unavailablef("An earlier upload of the image has not been given up yet.")
	}
	if !driver.ValidID(in.ImageID) || a.o.WorkDir == "" {
		return fault.New(fault.NotImplemented, "This host cannot make images.")
	}
	dst := filepath.Join(a.o.WorkDir, in.ImageID)
	if err := os.Remove(dst); err != nil && !os.IsNotExist(err) {
		return err
	}
	defer os.Remove(dst)
	format, err := a.o.Driver.Snapshot(ctx, in.ServerID, dst)
	if err != nil {
		return err
	}
	if doc.Format == nil || *doc.Format != format {
		patch := []map[string]any{{"op": "replace", "path": "/disk_format", "value": format}}
		_, err := c.Patch(ctx, c.ServiceURL("images", in.ImageID), patch, nil, &gophercloud.RequestOpts{
			OkCodes: []int{http.StatusOK}, MoreHeaders: map[string]string{"Content-Type": "application/openstack-images-v2.1-json-patch"},
		})
		if err != nil {
			return auth.Fault(err)
		}
	}
	f, err := os.Open(dst)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	sum, err := contentMD5(f)
	if err != nil {
		return err
	}
	_, err = c.Put(ctx, c.ServiceURL("images", in.ImageID, "file"), nil, nil, &gophercloud.RequestOpts{
		RawBody: f, OkCodes: []int{http.StatusNoContent}, MoreHeaders: map[string]string{"Content-Type": "application/octet-stream", "Content-MD5": sum},
	})
	return auth.Fault(err)
}

// contentMD5 is the digest by which the image service checks what arrives
// (RFC 1864); the file is read from its beginning afterwards.
func contentMD5(f *os.File) (string, error) {
	h := md5.New() //nolint:gosec // the header's, not a defence
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	_, err := f.Seek(0, io.SeekStart)
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), err
}
