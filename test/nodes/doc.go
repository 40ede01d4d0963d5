// Package nodes tests clouds of several machines as processes on one, each at
// a loopback address of its own, where no guests are needed: joining, roles,
// several control nodes, their database and its absence. make e2e runs it; what
// needs guests and cables is in test/chaos.
package nodes
