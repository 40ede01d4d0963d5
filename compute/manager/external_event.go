package manager

import (
	"context"

	"github.com/tropocloud/tropo/compute"
)

// ExternalEvent is what another service tells of a server.
type ExternalEvent struct {
	Name     string
	ServerID string
	Status   string
	Tag      string
	Code     int // of the answer: 200, 404 or 422
}

// ExternalEvents takes what other services tell; each event gets its code. It
// only nudges: what changed is read from the other service. A server without a
// host takes none, unless it is shelved: it keeps its ports.
func (m *Manager) ExternalEvents(ctx context.Context, events []ExternalEvent) error {
	refresh := map[string]bool{}
	for i := range events {
		e := &events[i]
		s, err := m.store.Server(ctx, e.ServerID)
		if isMissing(err) {
			e.Code, e.Status = 404, "failed"
			continue
		}
		if err != nil {
			return err
		}
		if e.Code = 200; s.Host == "" && s.VMState != compute.StateShelvedOffloaded {
			e.Code, e.Status = 422, "failed"
			continue
		}
		if err := m.tasks.Nudge(ctx, s.ID); err != nil {
			return err
		}
		switch e.Name {
		case "network-changed", "network-vif-plugged", "network-vif-deleted", "network-vif-unplugged":
			refresh[s.ID] = true
		}
	}
	for id := range refresh {
		if err := m.refreshPorts(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// FindServer returns the server that a metadata request is about. The ids come
// signed from the network service.
func (m *Manager) FindServer(ctx context.Context, id string) (*compute.Server, error) {
	return m.store.Server(ctx, id)
}
