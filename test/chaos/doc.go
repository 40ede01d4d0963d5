// Package chaos proves that a cloud of many machines loses nothing that it
// acknowledged and leaves nothing stuck or orphaned, whatever is killed.
//
// A machine is a network namespace with links to a management, a service and a
// provider network; a database and a broker run in a namespace of their own;
// a workstation outside calls the APIs and pings floating IPs. All processes
// are real. Nothing touches the machine's own network, and everything is
// removed at the end, also what an earlier run that was killed left behind.
//
// The tests run where TROPO_CHAOS=1 (the whole proof, make chaos) or
// TROPO_E2E=1 (the small form), TROPO_BIN and TROPO_GUEST name the binary and
// the guest image, as root.
package chaos
