package fake_test

import (
	"testing"

	"github.com/tropocloud/tropo/network/driver"
	"github.com/tropocloud/tropo/network/driver/drivertest"
	"github.com/tropocloud/tropo/network/driver/fake"
)

func TestConformance(t *testing.T) {
	drivertest.Run(t, func(*testing.T) drivertest.Harness {
		d := fake.New()
		return drivertest.Harness{
			Driver: d,
			Plug:   func(_ *testing.T, p driver.Port) func() { d.Plug(p.ID, true); return func() { d.Plug(p.ID, false) } },
			Damage: func(_ *testing.T, o driver.Object) { d.Lose(o) },
		}
	})
}
