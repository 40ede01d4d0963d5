package manager

import "github.com/tropocloud/tropo/compute/store"

// What lists can be asked for; the store says what each field means.
type (
	// ServerFilter chooses servers.
	ServerFilter = store.ServerFilter
	// StatusFilter is one pair of states that a server may be in.
	StatusFilter = store.StatusFilter
	// FlavorFilter chooses flavors.
	FlavorFilter = store.FlavorFilter
	// ActionFilter chooses instance actions.
	ActionFilter = store.ActionFilter
)
