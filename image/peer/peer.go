// Package peer is how a control node's image service reaches another one's: to
// copy image data, over the other's API with a token of the service's own user.
package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
)

// The headers of a copy that is written: its length in bytes and its SHA-512.
const (
	HeaderSize = "X-Tropo-Size"
	HeaderHash = "X-Tropo-Sha512"
)

// HTTP is the image service of a control node.
type HTTP struct {
	URL    string // of its image API
	Client *http.Client
	Token  func(ctx context.Context) (string, error)
}

// Read reads a copy of a key's data from its beginning; a node without one is
// fault.NotFound.
func (p *HTTP) Read(ctx context.Context, key string) (io.ReadCloser, error) {
	res, err := p.do(ctx, http.MethodGet, key, nil, nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Write makes a copy of l's data, which r gives.
func (p *HTTP) Write(ctx context.Context, l image.Location, r io.Reader) error {
	res, err := p.do(ctx, http.MethodPut, l.Key, r, func(req *http.Request) {
		req.ContentLength = l.Size
		req.Header.Set("Content-Type", "application/octet-stream")
		req.Header.Set(HeaderSize, strconv.FormatInt(l.Size, 10))
		req.Header.Set(HeaderHash, l.Hash)
	})
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func (p *HTTP) do(ctx context.Context, method, key string, body io.Reader, with func(*http.Request)) (*http.Response, error) {
	token, err := p.Token(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(p.URL, "/")+"/v2/tropo-data/"+key, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", token)
	if with != nil {
		with(req)
	}
	res, err := p.Client.Do(req)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "The control node does not answer.")
	}
	if res.StatusCode == http.StatusOK || res.StatusCode == http.StatusNoContent {
		return res, nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 512))
	err = errors.Join(fmt.Errorf("%s: %s", res.Status, text), err, res.Body.Close())
	switch res.StatusCode {
	case http.StatusNotFound:
		return nil, fault.Wrap(fault.NotFound, err, "The control node has no such image data.")
	case http.StatusGone:
		return nil, fault.Wrap(fault.Gone, err, "The image was deleted.")
	}
	return nil, fault.Wrap(fault.Unavailable, err, "The control node refused.")
}
