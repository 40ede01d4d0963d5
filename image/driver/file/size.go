package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image/driver"
)

var _ driver.Sizer = (*Driver)(nil)

// Size implements driver.Sizer.
func (d *Driver) Size(_ context.Context, key string) (int64, error) {
	path, err := d.path(key)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fault.New(fault.NotFound, "The image's data is not there.")
	}
	if err != nil {
		return 0, fmt.Errorf("image store: %w", err)
	}
	return info.Size(), nil
}
