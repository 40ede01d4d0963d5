package file

import (
	"testing"

	"github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/driver/drivertest"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) driver.Driver {
		d, err := New(t.TempDir() + "/images")
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
