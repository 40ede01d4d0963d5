package daemons

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tropocloud/tropo/host"
)

// IgnoreAdvertisements makes a link deaf to IPv6 router advertisements: what
// guests send must not configure the host or its services. Without IPv6 in
// the kernel there is nothing to do.
func IgnoreAdvertisements(netns, link string) error {
	err := host.InNetns(netns, func() error {
		for _, name := range []string{"accept_ra", "autoconf"} {
			err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", link, name), []byte("0\n"), 0o644)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ignore router advertisements on %s: %w", link, err)
	}
	return nil
}
