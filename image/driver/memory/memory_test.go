package memory

import (
	"testing"

	"github.com/tropocloud/tropo/image/driver"
	"github.com/tropocloud/tropo/image/driver/drivertest"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t, func(*testing.T) driver.Driver { return New() })
}
