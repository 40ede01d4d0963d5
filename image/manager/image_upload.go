package manager

import (
	"context"
	"crypto/md5" //nolint:gosec // the API's checksum, not a defence
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/lib/diskimage"
)

// Upload is the data of an image on its way in.
type Upload struct {
	Body io.Reader
	// Size is what the client announced; negative: unknown.
	Size int64
	// MD5 is the content's digest in base64 (Content-MD5); empty: unknown.
	MD5 string
}

// UploadImage takes a queued image to active with the data of up. Whatever goes
// wrong leaves it queued, without data.
func (m *Manager) UploadImage(ctx context.Context, i *image.Image, up Upload) error {
	key, err := m.begin(ctx, i, image.StatusSaving)
	if err != nil {
		return err
	}
	sum, err := m.write(ctx, i, key, up)
	if err == nil {
		err = m.activate(ctx, i, key, sum, image.StatusSaving)
	}
	if err != nil {
		return errors.Join(err, m.requeue(context.WithoutCancel(ctx), i.ID, key))
	}
	return nil
}

// StageImage keeps data for a later import. The image is "uploading" until then.
func (m *Manager) StageImage(ctx context.Context, i *image.Image, up Upload) error {
	key, err := m.begin(ctx, i, image.StatusUploading)
	if err != nil {
		return err
	}
	sum, err := m.write(ctx, i, key, up)
	if err == nil {
		err = m.staged(ctx, i, key, sum)
	}
	if err != nil {
		return errors.Join(err, m.requeue(context.WithoutCancel(ctx), i.ID, key))
	}
	return nil
}

// begin takes the image and notes the key of its data to be, so that a crash
// leaves nothing behind.
func (m *Manager) begin(ctx context.Context, i *image.Image, to image.Status) (key string, err error) {
	if err := i.Ready(); err != nil {
		return "", err
	}
	key = uuid.NewString()
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		ok, err := m.store.Swap(ctx, i.ID, "", []image.Status{image.StatusQueued}, db.Set{
			"status": to, "upload_key": key, "upload_owner": m.self, "upload_beat": db.Now(),
		})
		if err != nil {
			return err
		}
		if !ok {
			return fault.Conflictf("Image status transition from %s to %s is not allowed", i.Status, to)
		}
		return m.store.AddGarbage(ctx, i.Store, key)
	})
	return key, err
}

// summary is what was learnt about data while it was written.
type summary struct {
	size     int64
	md5      string
	sha512   string
	found    diskimage.Result
	verified error // nil: safe, and what the image declares
}

// write streams up into the store under key.
func (m *Manager) write(ctx context.Context, i *image.Image, key string, up Upload) (*summary, error) {
	limit, err := m.allowance(ctx, i)
	if err != nil {
		return nil, err
	}
	if up.Size > limit {
		return nil, tooLarge(limit)
	}
	d, err := m.driver(i.Store)
	if err != nil {
		return nil, err
	}
	ctx, stop := m.keepLease(ctx, i.ID, key)
	defer stop()
	if err := m.beginCopy(ctx, key, true); err != nil {
		return nil, err
	}
	w, err := d.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	sum, err := m.digest(ctx, i, io.TeeReader(up.Body, w), limit)
	if err == nil {
		err = check(sum, up)
	}
	if err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	if err := w.Commit(); err != nil {
		if ok, lost := m.store.Beat(ctx, i.ID, key); lost == nil && !ok {
			return nil, fault.New(fault.Gone, "Image %s was deleted while its data was uploaded.", i.ID)
		}
		return nil, fault.Wrap(fault.Unavailable, err, "The image store could not keep the data.")
	}
	return sum, m.spread(ctx, image.Location{Key: key, Node: m.o.Host, Size: sum.size, Hash: sum.sha512})
}

// check compares with what the client announced.
func check(s *summary, up Upload) error {
	switch {
	case s.verified != nil:
		return s.verified
	case up.Size >= 0 && s.size != up.Size:
		return fault.Invalidf("The body has %d bytes, the request announced %d.", s.size, up.Size)
	case up.MD5 != "" && up.MD5 != s.contentMD5():
		return fault.Invalidf("The data does not match the Content-MD5 header.")
	}
	return nil
}

func (s *summary) contentMD5() string {
	b, err := hex.DecodeString(s.md5)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

// digest reads r to its end: size, digests, and the verdict of the inspector.
// It stops at the first byte that shows the image to be unsafe, or too large.
func (m *Manager) digest(ctx context.Context, i *image.Image, r io.Reader, limit int64) (*summary, error) {
	inspector := diskimage.NewInspector()
	sha := sha512.New()
	sum := md5.New() //nolint:gosec // see the import
	beside := newBeside(sum)
	defer beside.end()
	s := &summary{}
	buf := make([]byte, 256<<10)
	for {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		n, err := r.Read(buf)
		s.size += int64(n)
		if s.size > limit {
			return nil, tooLarge(limit)
		}
		beside.start(buf[:n])
		_, _ = sha.Write(buf[:n]) // hashes do not fail
		_, ierr := inspector.Write(buf[:n])
		beside.wait()
		if ierr != nil {
			return nil, refusal(ierr)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "The data ended early: the connection or the image store broke.")
		}
	}
	s.md5, s.sha512 = hex.EncodeToString(sum.Sum(nil)), hex.EncodeToString(sha.Sum(nil))
	found, err := inspector.Finish()
	if err == nil {
		err = m.match(found, i.Format())
	}
	s.found, s.verified = found, refusal(err)
	return s, nil
}

// beside is a hash that takes its data on another processor.
type beside struct {
	in   chan []byte
	done chan struct{}
}

func newBeside(h hash.Hash) *beside {
	b := &beside{in: make(chan []byte), done: make(chan struct{}, 1)}
	go func() {
		for p := range b.in {
			_, _ = h.Write(p)
			b.done <- struct{}{}
		}
	}()
	return b
}

// start has the hash read p; each start is followed by a wait, until whose end
// p must stay as it is.
func (b *beside) start(p []byte) { b.in <- p }
func (b *beside) wait()          { <-b.done }
func (b *beside) end()           { close(b.in) }

// match compares the content with the declared format. Content that is no
// known format may bear the labels of formats whose readers would refuse it.
func (m *Manager) match(r diskimage.Result, declared string) error {
	err := r.Match(declared)
	if err == nil || r.Format != diskimage.Raw || m.o.Config.FormatMatch {
		return err
	}
	switch declared {
	case "vhd", "vhdx", "vdi", "iso", "ploop":
		return nil
	case "vmdk":
		if !r.Describes {
			return nil
		}
	}
	return err
}

func refusal(err error) error {
	var u *diskimage.Unsafe
	if errors.As(err, &u) {
		return fault.Wrap(fault.Invalid, err, "The image is refused: %s: %s.", u.Format, u.Reason)
	}
	return err
}

func tooLarge(limit int64) error {
	return fault.New(fault.TooLarge, "Denying attempt to upload image because it exceeds the quota: no more than %d bytes are left.", limit)
}

// allowance is how many bytes the image may have: what its project's quota
// leaves, and no more than any image may have.
func (m *Manager) allowance(ctx context.Context, i *image.Image) (int64, error) {
	limit := m.o.Config.SizeCap
	if quota := m.o.Config.StorageQuota; quota > 0 {
		used, _, _, _, err := m.store.Usage(ctx, i.Owner, i.ID)
		if err != nil {
			return 0, err
		}
		limit = min(limit, max(0, quota-used))
	}
	return limit, nil
}

// keepLease renews the writer's lease; the context ends when the image is no
// longer the writer's, as when it was deleted (threat 15).
func (m *Manager) keepLease(ctx context.Context, id, key string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var mu sync.Mutex
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(beatEvery, func() {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		if ok, err := m.store.Beat(ctx, id, key); err == nil && !ok {
			cancel(fault.New(fault.Gone, "Image %s was deleted while its data was uploaded.", id))
			return
		}
		timer.Reset(beatEvery)
	})
	return ctx, func() {
		cancel(nil)
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
	}
}

// activate gives the image its data. The quota is asked again in the same
// transaction: uploads side by side must not pass it together.
func (m *Manager) activate(ctx context.Context, i *image.Image, key string, s *summary, from image.Status) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.store.Lock(ctx, "usage:"+i.Owner); err != nil {
			return err
		}
		limit, err := m.allowance(ctx, i)
		if err != nil {
			return err
		}
		if s.size > limit {
			return tooLarge(limit)
		}
		set := db.Set{
			"status": image.StatusActive, "data_key": key, "upload_key": "", "upload_owner": "", "upload_beat": nil,
			"size_bytes": s.size, "checksum": s.md5, "hash_algo": "sha512", "hash_value": s.sha512, "virtual_size": nil,
		}
		if string(s.found.Format) == i.Format() || i.Format() == "ami" {
			set["virtual_size"] = s.found.VirtualSize
		}
		ok, err := m.store.Activate(ctx, i, key, from, set)
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Gone, "Image %s was deleted or changed while its data was uploaded.", i.ID)
		}
		return m.store.DropGarbage(ctx, key)
	})
}

func (m *Manager) staged(ctx context.Context, i *image.Image, key string, s *summary) error {
	ok, err := m.store.Swap(ctx, i.ID, key, []image.Status{image.StatusUploading},
		db.Set{"upload_owner": "", "upload_beat": nil, "size_bytes": s.size})
	if err == nil && !ok {
		return fault.New(fault.Gone, "Image %s was deleted while its data was staged.", i.ID)
	}
	return err
}

// requeue takes an image back to queued and deletes what was written of key.
func (m *Manager) requeue(ctx context.Context, id, key string) error {
	_, err := m.store.Swap(ctx, id, key, []image.Status{image.StatusSaving, image.StatusUploading, image.StatusImporting}, db.Set{
		"status": image.StatusQueued, "upload_key": "", "upload_owner": "", "upload_beat": nil, "size_bytes": nil,
	})
	if err != nil {
		return fmt.Errorf("take image %s back to queued: %w", id, err)
	}
	return m.sweepLater(ctx)
}

// methods lists the import methods that are enabled.
func (m *Manager) methods() []string {
	var out []string
	for _, n := range m.o.Config.ImportMethods {
		if n = strings.TrimSpace(n); n == image.GlanceDirect || n == image.WebDownload {
			out = append(out, n)
		}
	}
	return out
}
