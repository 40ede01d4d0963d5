package api

import (
	"net/http"
	"strconv"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/peer"
	"github.com/tropocloud/tropo/rest"
)

// maxHash is the length of a SHA-512 in hexadecimal.
const maxHash = 128

// readCopy gives another control node this one's copy of image data.
func (a *API) readCopy(r *rest.Request) (any, error) {
	data, size, err := a.manager.OpenCopy(r.Context(), r.Var("key"))
	if err != nil {
		return nil, err
	}
	h := http.Header{"Content-Type": {"application/octet-stream"}, "Content-Length": {strconv.FormatInt(size, 10)}}
	return &rest.Response{Status: http.StatusOK, Header: h, Stream: &exactly{ReadCloser: data, left: size}}, nil
}

// writeCopy takes a copy of image data from another control node.
func (a *API) writeCopy(r *rest.Request) (any, error) {
	size, err := strconv.ParseInt(r.Header(peer.HeaderSize), 10, 64)
	hash := r.Header(peer.HeaderHash)
	if err != nil || size < 0 || len(hash) != maxHash {
		return nil, fault.Invalidf("The size and the SHA-512 of the data must be told.")
	}
	return nil, a.manager.TakeCopy(r.Context(), image.Location{Key: r.Var("key"), Size: size, Hash: hash}, r.HTTP.Body)
}
