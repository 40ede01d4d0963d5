package api

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/manager"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/rest"
)

func (a *API) upload(r *rest.Request) (any, error) {
	up, err := body(r)
	if err != nil {
		return nil, err
	}
	return nil, a.manager.UploadImage(r.Context(), r.Object().(*image.Image), up)
}

func (a *API) stage(r *rest.Request) (any, error) {
	up, err := body(r)
	if err != nil {
		return nil, err
	}
	return nil, a.manager.StageImage(r.Context(), r.Object().(*image.Image), up)
}

func body(r *rest.Request) (manager.Upload, error) {
	if kind, _, err := mime.ParseMediaType(r.Header("Content-Type")); err != nil || kind != "application/octet-stream" {
		return manager.Upload{}, fault.New(fault.UnsupportedType, "The data must be of type application/octet-stream.")
	}
	return manager.Upload{Body: r.HTTP.Body, Size: r.HTTP.ContentLength, MD5: r.Header("Content-MD5")}, nil
}

// download streams the data, or a range of it (RFC 9110 §14; one range).
func (a *API) download(r *rest.Request) (any, error) {
	i := r.Object().(*image.Image)
	if i.Status == image.StatusDeactivated && !r.Caller().IsAdmin() {
		return nil, fault.Forbiddenf("The requested image has been deactivated. Image data download is forbidden.")
	}
	if !i.HasData() || i.Size == nil {
		return &rest.Response{Status: http.StatusNoContent}, nil
	}
	h := http.Header{"Content-Type": {"application/octet-stream"}, "Accept-Ranges": {"bytes"}}
	if i.Checksum != nil {
		h.Set("Content-MD5", *i.Checksum)
	}
	from, length, status := int64(0), *i.Size, http.StatusOK
	if spec := r.Header("Range"); spec != "" {
		var ok bool
		if from, length, ok = parseRange(spec, *i.Size); !ok {
			return unsatisfiable(*i.Size), nil
		}
		status = http.StatusPartialContent
		h.Del("Content-MD5")
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+length-1, *i.Size))
	}
	h.Set("Content-Length", strconv.FormatInt(length, 10))
	data, err := a.manager.Open(r.Context(), i, from, length)
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: status, Header: h, Stream: &exactly{ReadCloser: data, left: length}}, nil
}

// exactly fails when the data ends before the length that was announced.
type exactly struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.left -= int64(n)
	if err == io.EOF && e.left > 0 { //nolint:errorlint // io.Reader returns it bare
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// WriteTo implements io.WriterTo: a file goes to a socket within the kernel
// (sendfile), which only its own type allows.
func (e *exactly) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, e.ReadCloser)
	e.left -= n
	if err == nil && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func unsatisfiable(size int64) *rest.Response {
	_, page := rest.GlanceErrors{}.Document(fault.Invalidf("The byte range is not within the image's %d bytes.", size), http.StatusRequestedRangeNotSatisfiable, "")
	return &rest.Response{
		Status: http.StatusRequestedRangeNotSatisfiable, Body: page,
		Header: http.Header{"Content-Type": {"text/html; charset=UTF-8"}, "Content-Range": {fmt.Sprintf("bytes */%d", size)}},
	}
}

// parseRange reads "bytes=a-b", "bytes=a-" or "bytes=-n".
func parseRange(spec string, size int64) (from, length int64, ok bool) {
	s, ok := strings.CutPrefix(spec, "bytes=")
	first, last, found := strings.Cut(s, "-")
	if !ok || !found || strings.Contains(s, ",") || size == 0 {
		return 0, 0, false
	}
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n == 0 {
			return 0, 0, false
		}
		length = min(int64(n), size)
		return size - length, length, true
	}
	a, err := strconv.ParseUint(first, 10, 63)
	if err != nil || int64(a) >= size {
		return 0, 0, false
	}
	end := size - 1
	if last != "" {
		b, err := strconv.ParseUint(last, 10, 63)
		if err != nil || b < a {
			return 0, 0, false
		}
		end = min(end, int64(b))
	}
	return int64(a), end - int64(a) + 1, true
}

func (a *API) importImage(r *rest.Request) (any, error) {
	var in struct {
		Method struct {
			Name string `json:"name"`
			URI  string `json:"uri"`
		} `json:"method"`
		Stores    []string `json:"stores"`
		AllStores bool     `json:"all_stores"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.AllStores && len(in.Stores) > 0 {
		return nil, fault.Invalidf("'stores' must not be set if 'all_stores' is set.")
	}
	_, err := a.manager.ImportImage(r.Context(), r.Object().(*image.Image), manager.Import{
		Method: in.Method.Name, URI: in.Method.URI, Stores: in.Stores, Project: r.Caller().Project.ID, User: r.Caller().User.ID,
		RequestID: obs.RequestID(r.Context()), Input: string(r.Body()),
	})
	return nil, err
}
