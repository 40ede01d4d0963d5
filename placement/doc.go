// Package placement tracks what can be used up: resource providers with their
// inventories, the allocations that consumers hold of them, and the traits and
// aggregates by which a provider is chosen. It speaks OpenStack's Placement
// API, microversions 1.0 to 1.39.
//
// This package has the nouns and the rules that need nothing but themselves.
// Package candidate answers "where could this go?" from memory, package store
// keeps the rows and makes claims atomic, manager has the operations and api
// the routes.
package placement
