package fake

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/compute/driver"
)

var _ driver.Strays = (*Fake)(nil)

// AddStray pretends that something of nobody's lies about on the host.
func (f *Fake) AddStray(s driver.Stray) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strays = append(f.strays, s)
}

// Lose forgets a guest behind everyone's back, as when a person removes its
// folder and ends its process.
func (f *Fake) Lose(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.guests, id)
}

// Strays implements driver.Strays.
func (f *Fake) Strays(ctx context.Context) ([]driver.Stray, error) {
	if err := f.before(ctx, "Strays", ""); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.strays), nil
}

// RemoveStray implements driver.Strays.
func (f *Fake) RemoveStray(ctx context.Context, s driver.Stray) error {
	if err := f.before(ctx, "RemoveStray", s.ServerID); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strays = slices.DeleteFunc(f.strays, func(have driver.Stray) bool { return have == s })
	return nil
}
