package manager

import (
	"cmp"
	"context"
	"crypto/x509"
	"log/slog"
	"slices"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/fault"
)

// reloadPause is how long a certificate that is not known is refused without
// asking the database again.
const reloadPause = 200 * time.Millisecond

// Admit returns the node of a certificate that the authority has signed, as
// long as it is part of the cloud; otherwise fault.Forbidden.
func (m *Manager) Admit(c *x509.Certificate) (cluster.Node, error) {
	n, ok, asked := m.find(c)
	if !ok && time.Since(asked) > reloadPause { // it may have joined at another control node
		if err := m.Reload(context.Background()); err != nil {
			m.log.LogAttrs(context.Background(), slog.LevelWarn, "the nodes could not be read again", slog.Any("error", err))
		}
		n, ok, _ = m.find(c)
	}
	if !ok {
		return cluster.Node{}, fault.Forbiddenf("The certificate of %s is not (or no longer) one of this cloud: let the machine join with a new token and an empty state folder.", c.Subject.CommonName)
	}
	return n, nil
}

func (m *Manager) find(c *x509.Certificate) (cluster.Node, bool, time.Time) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	name, ok := m.serial[pki.Serial(c)]
	if !ok || name != c.Subject.CommonName {
		return cluster.Node{}, false, m.asked
	}
	n, ok := m.nodes[name]
	return n, ok, m.asked
}

// Part reports whether a node of the name is part of the cloud, as last read.
func (m *Manager) Part(name string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.nodes[name]
	return ok
}

// Controls are the control nodes as last read, by name.
func (m *Manager) Controls() []cluster.Node {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []cluster.Node
	for _, n := range m.nodes {
		if n.Has(cluster.Control) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b cluster.Node) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Nodes are all nodes, by name; those that were removed are marked.
func (m *Manager) Nodes(ctx context.Context) ([]cluster.Node, error) { return m.store.Nodes(ctx) }

// Public is the URL under which clients reach the cloud, "" as long as nobody
// has set it.
func (m *Manager) Public() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.public
}

// SetPublic sets the URL under which clients reach the cloud.
func (m *Manager) SetPublic(ctx context.Context, url string) error {
	if err := m.store.SetFact(ctx, factPublic, url); err != nil {
		return err
	}
	return m.reload(ctx)
}

// Beat notes that a node lives and tells it what it must know.
func (m *Manager) Beat(ctx context.Context, n cluster.Node, version string) (*cluster.Membership, error) {
	if len(version) > 100 {
		version = version[:100]
	}
	if err := m.store.Seen(ctx, n.Name, version, m.now()); err != nil {
		return nil, err
	}
	ms := m.membership(n)
	return &ms, nil
}

func (m *Manager) membership(n cluster.Node) cluster.Membership {
	ms := cluster.Membership{Node: n.Document(), Bus: m.o.Bus, Public: m.Public()}
	for _, c := range m.Controls() {
		ms.Controls = append(ms.Controls, c.Document())
	}
	return ms
}

// Renew signs a new certificate of a node.
func (m *Manager) Renew(ctx context.Context, n cluster.Node, request string) (string, error) {
	csr, err := pki.ParseRequest(request)
	if err != nil {
		return "", err
	}
	var text []byte
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		row, err := m.store.Node(ctx, n.Name)
		if err != nil {
			return err
		}
		if row.Revoked {
			return fault.Forbiddenf("The node %s was removed from the cloud.", n.Name)
		}
		_, text, err = m.sign(ctx, csr, row.Node)
		return err
	})
	if err != nil {
		return "", err
	}
	m.changed(ctx)
	return string(text), nil
}

// Share gives a control node what the others have: secrets, keys, and the
// addresses of the database and the bus. Others are refused.
func (m *Manager) Share(ctx context.Context, n cluster.Node) (*cluster.ControlDocument, error) {
	if !n.Has(cluster.Control) || m.o.Share == nil {
		return nil, fault.Forbiddenf("The node %s has not the role control.", n.Name)
	}
	d, err := m.o.Share(ctx)
	if err == nil && len(d.Keys.Files) == 0 {
		return nil, fault.Unavailablef("The control node is starting and has no keys yet; try again.")
	}
	return d, err
}

// Keys gives a control node identity's keys. Others are refused.
func (m *Manager) Keys(ctx context.Context, n cluster.Node, have string) (*cluster.Keys, error) {
	if !n.Has(cluster.Control) || m.o.Keys == nil {
		return nil, fault.Forbiddenf("The node %s has not the role control.", n.Name)
	}
	return m.o.Keys(ctx, have)
}

// Fact reads what all control nodes agree on under a name; "" if nothing yet.
func (m *Manager) Fact(ctx context.Context, name string) (string, error) {
	return m.store.Fact(ctx, name)
}

// SwapFact replaces a fact (old is "": there is none) and reports whether it
// was old: of several who replace the same one wins.
func (m *Manager) SwapFact(ctx context.Context, name, old, value string) (bool, error) {
	return m.store.SwapFact(ctx, name, old, value)
}
