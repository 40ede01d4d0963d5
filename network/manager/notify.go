package manager

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/network"
)

// notifier tells compute of ports that come up, go down, change or go. It is
// best effort: compute also looks by itself.
type notifier struct {
	session *auth.Session
	log     *slog.Logger
	queue   chan event
}

// event is an element of POST /os-server-external-events.
type event struct {
	Name   string `json:"name"`
	Server string `json:"server_uuid"`
	Tag    string `json:"tag,omitempty"`
	Status string `json:"status"`
}

func newNotifier(s *auth.Session, log *slog.Logger) *notifier {
	return &notifier{session: s, log: log, queue: make(chan event, 1024)}
}

// send queues an event about a server's port; a full queue drops it.
func (n *notifier) send(name string, p *network.Port) {
	if n == nil || p.DeviceID == "" || !strings.HasPrefix(p.DeviceOwner, "compute:") {
		return
	}
	select {
	case n.queue <- event{Name: name, Server: p.DeviceID, Tag: p.ID, Status: "completed"}:
	default:
		n.log.Warn("event for compute was dropped", slog.String("event", name), slog.String("port", p.ID))
	}
}

func (n *notifier) status(p *network.Port, status string) {
	if status == network.StatusActive {
		n.send("network-vif-plugged", p)
		return
	}
	n.send("network-vif-unplugged", p)
}

func (n *notifier) changed(p *network.Port) { n.send("network-changed", p) }
func (n *notifier) deleted(p *network.Port) { n.send("network-vif-deleted", p) }

// batch bounds the events of one request.
const batch = 64

func (n *notifier) run(ctx context.Context) error {
	for {
		var list []event
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-n.queue:
			list = append(list, e)
		}
		for more := true; more && len(list) < batch; {
			select {
			case e := <-n.queue:
				list = append(list, e)
			default:
				more = false
			}
		}
		n.post(ctx, list)
	}
}

func (n *notifier) post(ctx context.Context, list []event) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := n.session.Service(ctx, "compute")
	if err == nil {
		resp, perr := c.Post(ctx, c.ServiceURL("os-server-external-events"), map[string]any{"events": list}, nil, &gophercloud.RequestOpts{OkCodes: []int{200, 202, 207}})
		if perr == nil {
			_ = resp.Body.Close()
		}
		err = auth.Fault(perr)
	}
	if err != nil {
		n.log.LogAttrs(ctx, slog.LevelInfo, "compute was not told of ports", slog.Int("events", len(list)), slog.String("error", err.Error()))
	}
}
