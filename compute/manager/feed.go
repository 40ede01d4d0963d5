package manager

import "github.com/tropocloud/tropo/feed"

// Feed is what projects are told of changes.
func (m *Manager) Feed() *feed.Feed { return m.store.Feed() }
