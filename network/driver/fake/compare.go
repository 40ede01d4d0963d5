package fake

import (
	"context"
	"reflect"
	"slices"

	"github.com/tropocloud/tropo/network/driver"
)

var _ driver.Comparer = (*Driver)(nil)

// Compare implements driver.Comparer.
func (d *Driver) Compare(_ context.Context, s driver.State) (driver.Drift, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var drift driver.Drift
	if d.down != nil {
		return drift, d.down
	}
	keep := map[driver.Object]bool{}
	for _, e := range all(s) {
		keep[e.o] = true
		if have, there := d.objects[e.o]; e.refusal == nil && (!there || !reflect.DeepEqual(have, e.value)) {
			drift.Healed = append(drift.Healed, e.o)
		}
	}
	for o := range d.objects {
		if !keep[o] && (s.Known == nil || slices.Contains(s.Known, o)) {
			drift.Deleted = append(drift.Deleted, o)
		}
	}
	return drift, nil
}
