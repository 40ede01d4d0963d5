package manager

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/driver"
)

// How often a node looks for data that too few nodes have, and compares its
// files with the rows.
const (
	fillEvery  = 30 * time.Second
	auditEvery = time.Hour
	fillLimit  = 100
)

// Replicate makes this node one of those that keep image data, until ctx ends:
// it gives signs of life, compares its files with the rows (at once, and then
// now and then), and copies what too few nodes have. Without other nodes it
// returns at once.
func (m *Manager) Replicate(ctx context.Context) error {
	if m.o.Replicas == nil {
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { m.every(ctx, nodeBeat, m.see) })
	wg.Go(func() {
		m.every(ctx, auditEvery, func(ctx context.Context) error {
			return errors.Join(m.Audit(ctx), m.store.ForgetNodes(ctx, db.Now().Add(-nodeForget)))
		})
	})
	wg.Go(func() { m.every(ctx, fillEvery, m.Fill) })
	wg.Wait()
	return nil
}

func (m *Manager) every(ctx context.Context, d time.Duration, f func(context.Context) error) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			m.o.Log.LogAttrs(ctx, slog.LevelWarn, "looking after copies of image data failed", slog.String("error", err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// see gives a sign of life.
func (m *Manager) see(ctx context.Context) error {
	return m.store.SeeNode(ctx, image.Node{Name: m.o.Host, URL: m.o.Replicas.URL, SeenAt: db.Now()})
}

// Fill makes this node copies of data that too few living nodes have, where it
// is this node's turn.
func (m *Manager) Fill(ctx context.Context) error {
	nodes, _, err := m.alive(ctx)
	if err != nil {
		return err
	}
	names := []string{m.o.Host}
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	want := min(m.o.Config.Replicas, len(names))
	keys, err := m.store.Scarce(ctx, names, want, fillLimit)
	if err != nil {
		return err
	}
	var errs []error
	for _, key := range keys {
		have, err := m.store.Locations(ctx, key)
		if err != nil {
			return err
		}
		wanted, err := m.store.Wanted(ctx, key)
		if err != nil {
			return err
		}
		if wanted && m.turn(key, names, have, want) {
			errs = append(errs, m.pull(ctx, key))
		}
	}
	return errors.Join(errs...)
}

// turn reports whether this node is to make one of the missing copies: all
// nodes find the same ones.
func (m *Manager) turn(key string, names []string, have []image.Location, want int) bool {
	rank := func(name string) uint64 {
		h := fnv.New64a()
		_, _ = io.WriteString(h, key+name) // does not fail
		return h.Sum64()
	}
	var lacking []string
	for _, n := range names {
		if !slices.ContainsFunc(have, func(l image.Location) bool { return l.Node == n && l.Ready }) {
			lacking = append(lacking, n)
		}
	}
	slices.SortFunc(lacking, func(a, b string) int {
		if rank(a) < rank(b) {
			return -1
		}
		return 1
	})
	missing := max(0, want-(len(names)-len(lacking)))
	return slices.Contains(lacking[:min(missing, len(lacking))], m.o.Host)
}

// Audit compares the files of this node with the rows: it forgets copies that
// are not there, takes in files that nobody noted after checking them, and
// deletes files of images that are gone.
func (m *Manager) Audit(ctx context.Context) error {
	d, err := m.driver(m.o.Default)
	if err != nil {
		return err
	}
	// Rows first: a copy that is begun after this look is not taken for lost.
	rows, err := m.store.LocationsOn(ctx, m.o.Host)
	if err != nil {
		return err
	}
	keys, err := d.Keys(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range rows {
		if l.Ready && !slices.Contains(keys, l.Key) {
			errs = append(errs, m.store.DropLocation(ctx, l.Key, m.o.Host))
		}
	}
	noted := map[string]bool{}
	for _, l := range rows {
		noted[l.Key] = true
	}
	for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
		if !noted[key] {
			errs = append(errs, m.adopt(ctx, d, key))
		}
	}
	return errors.Join(errs...)
}

// adopt decides about a file without a row.
func (m *Manager) adopt(ctx context.Context, d driver.Driver, key string) error {
	_, err, _ := m.copies.Do(key, func() (any, error) {
		have, err := m.store.Locations(ctx, key)
		if err != nil || slices.ContainsFunc(have, func(l image.Location) bool { return l.Node == m.o.Host }) {
			return nil, err // begun meanwhile
		}
		referred, err := m.store.Referred(ctx, key)
		if err != nil {
			return nil, err
		}
		if !referred {
			return nil, d.Delete(ctx, key)
		}
		l, err := m.measure(ctx, d, key)
		if err != nil {
			if fault.Is(err, fault.NotFound) { // only the beginning of a copy
				err = nil
			}
			return nil, err
		}
		want, err := m.store.HashOf(ctx, key)
		if err != nil {
			return nil, err
		}
		if want != "" && want != l.Hash {
			return nil, d.Delete(ctx, key)
		}
		if err := m.beginCopy(ctx, key, false); err != nil {
			return nil, err
		}
		_, err = m.store.ReadyLocation(ctx, l)
		return nil, err
	})
	return err
}

func (m *Manager) measure(ctx context.Context, d driver.Driver, key string) (image.Location, error) {
	r, err := d.Open(ctx, key, 0, -1)
	if err != nil {
		return image.Location{}, err
	}
	defer func() { _ = r.Close() }() // only read from
	h := sha512.New()
	n, err := io.Copy(h, r)
	return image.Location{Key: key, Node: m.o.Host, Size: n, Hash: hex.EncodeToString(h.Sum(nil))}, err
}
