// Package e2e holds the end-to-end tests: a real tropo process, real guests
// under QEMU, the real OVN dataplane, OpenStack's own unmodified command line.
// They run where TROPO_E2E=1, TROPO_BIN and TROPO_GUEST name the binary and
// the guest image (make e2e sets them), as root.
package e2e
