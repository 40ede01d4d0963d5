package manager

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/driver"
)

// Each control node keeps data on a disk of its own. Rows say who has what:
// they are written before the first byte, so that a node that was away finds
// what it must delete, and made ready after the last one was checked.

// Peer is the image service of another control node.
type Peer interface {
	// Read reads a copy from its beginning.
	Read(ctx context.Context, key string) (io.ReadCloser, error)
	// Write makes a copy there; it is complete and checked when Write
	// returns nil.
	Write(ctx context.Context, l image.Location, r io.Reader) error
}

// Replicas say how data gets to other control nodes and back.
type Replicas struct {
	URL  string // of this node's image API, for the others
	Peer func(n image.Node) Peer
}

// The life of nodes: how often one gives a sign of life, after how long without
// one it counts as dead, and is forgotten.
const (
	nodeBeat   = 5 * time.Second
	nodeStale  = 20 * time.Second
	nodeForget = 7 * 24 * time.Hour
	// spreadWait bounds how long an upload waits for a second node that
	// lives and does not take the data.
	spreadWait  = time.Minute
	spreadPause = time.Second
)

// beginCopy notes that this node writes the data of a key; anew says that what
// other nodes have of it is void.
func (m *Manager) beginCopy(ctx context.Context, key string, anew bool) error {
	if m.o.Replicas == nil {
		return nil
	}
	return m.store.BeginLocation(ctx, key, m.o.Host, anew)
}

// swept notes that this node has nothing of a deleted key any more. The last
// node that had something of it forgets the key.
func (m *Manager) swept(ctx context.Context, key string) error {
	if m.o.Replicas == nil {
		return m.store.DropGarbage(ctx, key)
	}
	if err := m.store.DropLocation(ctx, key, m.o.Host); err != nil {
		return err
	}
	left, err := m.store.Locations(ctx, key)
	if err != nil || len(left) > 0 {
		return err
	}
	return m.store.DropGarbage(ctx, key)
}

// alive are the other control nodes that gave a sign of life lately, and all
// others by name.
func (m *Manager) alive(ctx context.Context) (list []image.Node, all map[string]image.Node, err error) {
	nodes, err := m.store.Nodes(ctx)
	all = map[string]image.Node{}
	for _, n := range nodes {
		if n.Name == m.o.Host {
			continue
		}
		all[n.Name] = n
		if db.Now().Sub(n.SeenAt) < nodeStale {
			list = append(list, n)
		}
	}
	return list, all, err
}

// spread makes sure that as many control nodes as configured have data that
// this one has, or all that live. It waits for nodes that live but do not take
// the data: what is acknowledged survives the loss of any one node.
func (m *Manager) spread(ctx context.Context, l image.Location) error {
	if m.o.Replicas == nil {
		return nil
	}
	ok, err := m.store.ReadyLocation(ctx, l)
	if err != nil {
		return err
	}
	if !ok {
		return fault.New(fault.Gone, "The image was deleted while its data was uploaded.")
	}
	for until := db.Now().Add(spreadWait); ; {
		missing, err := m.spreadOnce(ctx, l)
		if err != nil || missing == 0 {
			return err
		}
		if db.Now().After(until) {
			return fault.Unavailablef("No second control node could take the data.")
		}
		t := time.NewTimer(spreadPause)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// spreadOnce gives the data to nodes that lack it, and returns how many copies
// are still missing.
func (m *Manager) spreadOnce(ctx context.Context, l image.Location) (missing int, err error) {
	nodes, _, err := m.alive(ctx)
	if err != nil {
		return 0, err
	}
	have, err := m.store.Locations(ctx, l.Key)
	if err != nil {
		return 0, err
	}
	missing = min(m.o.Config.Replicas, 1+len(nodes)) - 1
	var lacking []image.Node
	for _, n := range nodes {
		if slices.ContainsFunc(have, func(h image.Location) bool { return h.Node == n.Name && h.Ready }) {
			missing--
		} else {
			lacking = append(lacking, n)
		}
	}
	for _, n := range lacking {
		if missing <= 0 {
			break
		}
		if err := m.push(ctx, n, l); err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return 0, cause
			}
			m.o.Log.LogAttrs(ctx, slog.LevelWarn, "a control node did not take image data", slog.String("node", n.Name), slog.String("key", l.Key), slog.String("error", err.Error()))
			continue
		}
		missing--
	}
	return max(0, missing), nil
}

func (m *Manager) push(ctx context.Context, n image.Node, l image.Location) error {
	d, err := m.driver(m.o.Default)
	if err != nil {
		return err
	}
	r, err := d.Open(ctx, l.Key, 0, -1)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	return m.o.Replicas.Peer(n).Write(ctx, l, r)
}

// TakeCopy keeps data that another control node gives to this one. Data that no
// image has, or gets, is refused.
func (m *Manager) TakeCopy(ctx context.Context, l image.Location, r io.Reader) error {
	l.Node = m.o.Host
	if err := m.copyable(ctx, l.Key); err != nil {
		return err
	}
	_, err, _ := m.copies.Do(l.Key, func() (any, error) {
		if has, err := m.hasCopy(ctx, l.Key); err != nil || has {
			return nil, err
		}
		if err := m.sameData(ctx, l); err != nil {
			return nil, err
		}
		return nil, m.copyIn(ctx, l, r)
	})
	return err
}

// sameData refuses a copy that is not what the image or another copy has.
func (m *Manager) sameData(ctx context.Context, l image.Location) error {
	want, err := m.store.HashOf(ctx, l.Key)
	if err != nil {
		return err
	}
	have, err := m.store.Locations(ctx, l.Key)
	if err != nil {
		return err
	}
	other := func(h image.Location) bool { return h.Ready && (h.Hash != l.Hash || h.Size != l.Size) }
	if want != "" && want != l.Hash || slices.ContainsFunc(have, other) {
		return fault.New(fault.Conflict, "The data is not that of the image.")
	}
	return nil
}

func (m *Manager) copyable(ctx context.Context, key string) error {
	if m.o.Replicas == nil {
		return fault.New(fault.NotFound, "This cloud has one control node.")
	}
	if err := driver.CheckKey(key); err != nil {
		return err
	}
	ok, err := m.store.Wanted(ctx, key)
	if err == nil && !ok {
		err = fault.New(fault.NotFound, "No image has the data.")
	}
	return err
}

func (m *Manager) hasCopy(ctx context.Context, key string) (bool, error) {
	have, err := m.store.Locations(ctx, key)
	return slices.ContainsFunc(have, func(h image.Location) bool { return h.Node == m.o.Host && h.Ready }), err
}

// OpenCopy reads this node's own copy of a key, for another control node.
func (m *Manager) OpenCopy(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	if err := m.copyable(ctx, key); err != nil {
		return nil, 0, err
	}
	have, err := m.store.Locations(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	at := slices.IndexFunc(have, func(h image.Location) bool { return h.Node == m.o.Host && h.Ready })
	if at < 0 {
		return nil, 0, fault.New(fault.NotFound, "This node has no copy of the data.")
	}
	d, err := m.driver(m.o.Default)
	if err != nil {
		return nil, 0, err
	}
	r, err := d.Open(ctx, key, 0, -1)
	return r, have[at].Size, err
}

// copyIn writes a copy of data whose size and hash are known.
func (m *Manager) copyIn(ctx context.Context, l image.Location, r io.Reader) error {
	d, err := m.driver(m.o.Default)
	if err != nil {
		return err
	}
	if err := m.beginCopy(ctx, l.Key, false); err != nil {
		return err
	}
	w, err := d.Create(ctx, l.Key)
	if err != nil {
		return err
	}
	h := sha512.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, l.Size+1))
	if err == nil && (n != l.Size || hex.EncodeToString(h.Sum(nil)) != l.Hash) {
		err = fault.Unavailablef("The copy of the data is not what was uploaded.")
	}
	if err != nil {
		return errors.Join(err, w.Abort(), m.store.DropLocation(context.WithoutCancel(ctx), l.Key, m.o.Host))
	}
	if err := w.Commit(); err != nil {
		return errors.Join(err, m.store.DropLocation(context.WithoutCancel(ctx), l.Key, m.o.Host))
	}
	l.Node = m.o.Host
	ok, err := m.store.ReadyLocation(ctx, l)
	if err == nil && !ok { // deleted meanwhile
		err = errors.Join(fault.New(fault.Gone, "The image was deleted."), d.Delete(ctx, l.Key))
	}
	return err
}

// open reads data that some control node has; one that lacks it makes itself a
// copy first.
func (m *Manager) open(ctx context.Context, store, key string, offset, length int64) (io.ReadCloser, error) {
	d, err := m.driver(store)
	if err != nil {
		return nil, err
	}
	r, err := d.Open(ctx, key, offset, length)
	if !fault.Is(err, fault.NotFound) || m.o.Replicas == nil {
		return r, err
	}
	if err := m.pull(ctx, key); err != nil {
		return nil, err
	}
	return d.Open(ctx, key, offset, length)
}

// pull makes this node a copy of what another one has. Callers at the same time
// share it, so it does not end with one of them.
func (m *Manager) pull(ctx context.Context, key string) error {
	done := m.copies.DoChan(key, func() (any, error) { return nil, m.pullFrom(context.WithoutCancel(ctx), key) })
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *Manager) pullFrom(ctx context.Context, key string) error {
	have, err := m.store.Locations(ctx, key)
	if err != nil {
		return err
	}
	alive, all, err := m.alive(ctx)
	if err != nil {
		return err
	}
	lives := func(name string) bool {
		return slices.ContainsFunc(alive, func(n image.Node) bool { return n.Name == name })
	}
	slices.SortStableFunc(have, func(a, b image.Location) int { // the living first
		switch {
		case lives(a.Node) == lives(b.Node):
			return 0
		case lives(a.Node):
			return -1
		}
		return 1
	})
	err = fault.Unavailablef("No control node that has the image's data answers.")
	for _, l := range have {
		n, known := all[l.Node]
		if !l.Ready || !known {
			continue
		}
		perr := m.pullOne(ctx, n, l)
		if perr == nil {
			return nil
		}
		m.o.Log.LogAttrs(ctx, slog.LevelWarn, "image data was not copied", slog.String("node", n.Name), slog.String("key", key), slog.String("error", perr.Error()))
	}
	return err
}

func (m *Manager) pullOne(ctx context.Context, n image.Node, l image.Location) error {
	r, err := m.o.Replicas.Peer(n).Read(ctx, l.Key)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	return m.copyIn(ctx, l, r)
}

// keptElsewhere reports whether another control node has a key's data.
func (m *Manager) keptElsewhere(ctx context.Context, key string) (bool, error) {
	if m.o.Replicas == nil {
		return false, nil
	}
	have, err := m.store.Locations(ctx, key)
	return slices.ContainsFunc(have, func(h image.Location) bool { return h.Node != m.o.Host && h.Ready }), err
}
