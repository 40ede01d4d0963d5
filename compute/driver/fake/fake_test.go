package fake_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/compute/driver/drivertest"
	"github.com/tropocloud/tropo/compute/driver/fake"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	var current *fake.Fake
	var ports atomic.Int32
	drivertest.Run(t, drivertest.Harness{
		Open: func(t *testing.T) driver.Driver {
			f, err := fake.New(fake.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			current = f
			return f
		},
		VIF: func(*testing.T) driver.VIF {
			return driver.VIF{
				PortID: uuid.NewString(), MAC: fmt.Sprintf("fa:16:3e:00:00:%02x", ports.Add(1)),
				Type: driver.VIFTypeOVS, Bridge: "br-int", MTU: 1442,
			}
		},
		HotUnplug: true,
		Kill: func(t *testing.T, id string) {
			if err := current.Crash(id); err != nil {
				t.Fatal(err)
			}
		},
	})
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// Tests of the control plane make single operations fail.
func TestFail(t *testing.T) {
	broken := errors.New("broken")
	f, err := fake.New(fake.Config{Fail: func(_ context.Context, method, _ string) error {
		if method == "Spawn" {
			return broken
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spec := driver.Spec{ID: uuid.NewString(), Flavor: driver.Flavor{VCPUs: 1, MemoryMiB: 1}}
	if err := f.Spawn(t.Context(), spec); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if list, err := f.List(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("got %v, %v", list, err)
	}
}
