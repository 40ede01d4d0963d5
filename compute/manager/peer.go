package manager

import (
	"context"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
)

type doc = map[string]any

func isMissing(err error) bool { return fault.Is(err, fault.NotFound) }

// peer is another service's API.
type peer struct {
	c *gophercloud.ServiceClient
}

// as says on whose behalf a peer is asked.
type as bool

const (
	asCaller  as = true  // the caller's token, with this service's beside it
	asService as = false // this service's own
)

// placementVersion is the microversion that this service speaks: generations
// of consumers (1.28), nested providers' summaries (1.29), consumer types not
// yet (1.38).
const placementVersion = "1.36"

func (m *Manager) peer(ctx context.Context, typ string, who as) (*peer, error) {
	open := m.session.Service
	if who == asCaller {
		open = m.session.Caller
	}
	c, err := open(ctx, typ)
	if err != nil {
		return nil, auth.Fault(err)
	}
	if typ == "placement" {
		c.Microversion = placementVersion
	}
	return &peer{c}, nil
}

var okCodes = []int{http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent}

// do asks for a path below the service's endpoint; in and out may be nil.
func (p *peer) do(ctx context.Context, method, path string, in, out any) error {
	return p.doWith(ctx, method, path, in, out, nil)
}

func (p *peer) doWith(ctx context.Context, method, path string, in, out any, header map[string]string) error {
	o := &gophercloud.RequestOpts{OkCodes: okCodes, JSONBody: in, JSONResponse: out, MoreHeaders: header}
	res, err := p.c.Request(ctx, method, p.c.ServiceURL()+path, o)
	if res != nil && out == nil && res.Body != nil {
		_ = res.Body.Close()
	}
	return auth.Fault(err)
}

func (p *peer) get(ctx context.Context, path string, out any) error {
	return p.do(ctx, http.MethodGet, path, nil, out)
}

// remove deletes; what is not there is deleted.
func (p *peer) remove(ctx context.Context, path string) error {
	if err := p.do(ctx, http.MethodDelete, path, nil, nil); !isMissing(err) {
		return err
	}
	return nil
}
