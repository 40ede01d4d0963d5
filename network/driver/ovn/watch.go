package ovn

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/tropocloud/tropo/lib/ovsdb"
	"github.com/tropocloud/tropo/network/driver"
)

// status follows the up column of guests' ports and wakes watchers.
type status struct {
	mu   sync.Mutex
	up   map[string]bool // every known port
	wake chan struct{}   // closed and replaced at each change
}

func newStatus() *status { return &status{up: map[string]bool{}, wake: make(chan struct{})} }

// changed is called by the database client, in order.
func (s *status) changed(changes []ovsdb.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	woke := false
	for _, c := range changes {
		if c.Table != tableSwitchPort {
			continue
		}
		if c.Old != nil && (c.New == nil || c.Old.String("name") != c.New.String("name")) {
			delete(s.up, c.Old.String("name"))
			woke = true
		}
		if isGuest(c.New) {
			name, up := c.New.String("name"), c.New.Bool("up")
			if was, known := s.up[name]; !known || was != up {
				s.up[name] = up
				woke = true
			}
		}
	}
	if woke {
		close(s.wake)
		s.wake = make(chan struct{})
	}
}

func isGuest(r ovsdb.Row) bool {
	return r != nil && r.String("type") == "" && r.Get("external_ids", markOwner) != ""
}

// now returns a copy of the states and a channel that closes at the next change.
func (s *status) now() (map[string]bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.up), s.wake
}

// Watch implements driver.Driver. A port that goes up and down faster than f
// returns is told with its last state only.
func (d *Driver) Watch(ctx context.Context, f func(driver.PortEvent)) error {
	if err := d.client.Wait(ctx); err != nil {
		return unavailable(err)
	}
	told := map[string]bool{}
	for {
		states, wake := d.status.now()
		for _, id := range slices.Sorted(maps.Keys(told)) {
			if _, known := states[id]; !known {
				if told[id] {
					f(driver.PortEvent{PortID: id})
				}
				delete(told, id)
			}
		}
		for _, id := range slices.Sorted(maps.Keys(states)) {
			if was, known := told[id]; !known || was != states[id] {
				told[id] = states[id]
				f(driver.PortEvent{PortID: id, Up: states[id]})
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		}
	}
}
