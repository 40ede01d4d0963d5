package manager

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/lib/outbound"
	"github.com/tropocloud/tropo/task"
)

// Import asks for an image's data to be imported.
type Import struct {
	Method    string
	URI       string   // of web-download
	Stores    []string // empty: the default one
	Project   string
	User      string
	RequestID string
	Input     string // the request's body
}

// importState is the import saga's.
type importState struct {
	TaskID, ImageID, Key, Store, Method, URI string
}

// ImportMethods lists how images can be imported.
func (m *Manager) ImportMethods() []string { return m.methods() }

// ImportImage starts an import; it goes on in the background and reports in the
// task and in the image's status and properties.
func (m *Manager) ImportImage(ctx context.Context, i *image.Image, in Import) (*image.Task, error) {
	from, err := m.checkImport(i, in)
	if err != nil {
		return nil, err
	}
	now := db.Now()
	t := image.Task{
		ID: uuid.NewString(), ImageID: i.ID, Owner: in.Project, UserID: in.User, RequestID: in.RequestID,
		Status: image.TaskPending, Method: in.Method, Input: in.Input, CreatedAt: now, UpdatedAt: now,
	}
	st := importState{TaskID: t.ID, ImageID: i.ID, Key: i.UploadKey, Store: i.Store, Method: in.Method, URI: in.URI}
	set := db.Set{"status": image.StatusImporting}
	if in.Method == image.WebDownload {
		st.Key = uuid.NewString()
		set["upload_key"] = st.Key
	}
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		ok, err := m.store.Swap(ctx, i.ID, i.UploadKey, []image.Status{from}, set)
		if err != nil {
			return err
		}
		if !ok {
			return fault.Conflictf("Image %s was changed by another request; try again.", i.ID)
		}
		for name, value := range map[string]string{image.PropertyImporting: i.Store, image.PropertyFailed: "", image.PropertyLock: t.ID} {
			if err := m.store.SetProperty(ctx, i.ID, name, value); err != nil {
				return err
			}
		}
		return errors.Join(m.store.AddGarbage(ctx, i.Store, st.Key), m.store.CreateTask(ctx, t), task.Start(ctx, m.o.Engine, "image-import", i.ID, st))
	})
	return &t, err
}

// checkImport says from which status the image goes.
func (m *Manager) checkImport(i *image.Image, in Import) (image.Status, error) {
	if !slices.Contains(m.methods(), in.Method) {
		return "", fault.Invalidf("Unknown import method name '%s'.", in.Method)
	}
	if err := i.Ready(); err != nil {
		return "", err
	}
	for _, s := range in.Stores {
		if m.o.Drivers[s] == nil {
			return "", fault.Conflictf("Store %s is unknown.", s)
		}
	}
	want := image.StatusQueued
	if in.Method == image.GlanceDirect {
		want = image.StatusUploading
	}
	if i.Status != want || i.UploadOwner != "" {
		return "", fault.Conflictf("The image status %s is not %s, which %s needs.", i.Status, want, in.Method)
	}
	if in.Method != image.WebDownload {
		return want, nil
	}
	u, err := url.Parse(in.URI)
	if err != nil || in.URI == "" {
		return "", fault.Invalidf("The uri of web-download is missing or is no URL.")
	}
	if err := m.policy.Check(u); err != nil {
		return "", fault.Invalidf("URI for web-download does not pass filtering: %s", strings.TrimPrefix(err.Error(), "outbound: "))
	}
	return want, nil
}

func (m *Manager) importSaga() task.Saga[importState] {
	timeout := m.o.Config.Import.Timeout
	if timeout <= 0 {
		timeout = time.Hour
	}
	return task.Saga[importState]{
		Name: "image-import",
		Steps: []task.Step[importState]{
			{Name: "announce", Do: func(ctx context.Context, s *importState) error {
				return m.store.UpdateTask(ctx, s.TaskID, image.TaskProcessing, "", nil)
			}},
			{Name: "data", Timeout: timeout, Do: m.importData},
			{Name: "report", Do: m.importDone},
		},
		Failed: m.importFailed,
	}
}

// importData reads the staged data, or downloads it, and activates the image.
func (m *Manager) importData(ctx context.Context, s *importState) error {
	i, err := m.store.Image(ctx, s.ImageID)
	if err != nil {
		return err
	}
	if i.DataKey == s.Key { // done before a crash
		return nil
	}
	var sum *summary
	if s.Method == image.WebDownload {
		sum, err = m.download(ctx, i, s)
	} else {
		sum, err = m.inspectStaged(ctx, i, s)
	}
	if err != nil {
		return err
	}
	return m.activate(ctx, i, s.Key, sum, image.StatusImporting)
}

func (m *Manager) inspectStaged(ctx context.Context, i *image.Image, s *importState) (*summary, error) {
	r, err := m.open(ctx, s.Store, s.Key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read from
	sum, err := m.digest(ctx, i, r, m.o.Config.SizeCap)
	if err != nil {
		return nil, err
	}
	return sum, sum.verified
}

func (m *Manager) download(ctx context.Context, i *image.Image, s *importState) (*summary, error) {
	res, err := outbound.Get(ctx, m.client, s.URI)
	if err != nil {
		// Where the download led is not told: it may be an internal host.
		return nil, fault.Wrap(fault.Invalid, err, "The image could not be downloaded.")
	}
	defer func() { _ = res.Body.Close() }()
	return m.write(ctx, i, s.Key, Upload{Body: res.Body, Size: res.ContentLength})
}

func (m *Manager) importDone(ctx context.Context, s *importState) error {
	return m.endImport(ctx, s, image.TaskSuccess, "", "")
}

// importFailed takes the image back and says why in the task.
func (m *Manager) importFailed(ctx context.Context, s *importState, cause error) error {
	if err := m.requeue(ctx, s.ImageID, s.Key); err != nil {
		return err
	}
	message := "The import failed."
	if f, ok := fault.As(cause); ok && f.Kind != fault.Internal {
		message = f.Message
	}
	return m.endImport(ctx, s, image.TaskFailure, message, s.Store)
}

func (m *Manager) endImport(ctx context.Context, s *importState, status image.TaskStatus, message, failed string) error {
	expires := db.Now().Add(m.o.Config.TaskLife)
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.store.UpdateTask(ctx, s.TaskID, status, message, &expires); err != nil {
			return err
		}
		if _, err := m.store.Image(ctx, s.ImageID); err != nil {
			if fault.Is(err, fault.NotFound) {
				return nil
			}
			return fmt.Errorf("end import: %w", err)
		}
		for name, value := range map[string]string{image.PropertyImporting: "", image.PropertyLock: "", image.PropertyFailed: failed} {
			if err := m.store.SetProperty(ctx, s.ImageID, name, value); err != nil {
				return err
			}
		}
		return nil
	})
}
