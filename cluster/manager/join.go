package manager

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/cluster/store"
	"github.com/tropocloud/tropo/fault"
)

var validName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$`)

// Join makes a machine part of the cloud by a token. The same machine (the
// same key) may ask again with the same token while that is valid, as when the
// answer was lost.
func (m *Manager) Join(ctx context.Context, r cluster.JoinRequest) (*cluster.Enrolment, error) {
	n := r.Node.Node()
	if err := m.authorise(ctx, r, n); err != nil {
		return nil, err
	}
	if err := m.acceptable(n); err != nil {
		return nil, err
	}
	csr, err := pki.ParseRequest(r.Request)
	if err != nil {
		return nil, err
	}
	n.Joined, n.Seen, n.Revoked = m.now(), m.now(), false
	var cert []byte
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		cert, err = m.enrol(ctx, n, r.TokenID, csr)
		return err
	})
	if err != nil {
		return nil, err
	}
	e := &cluster.Enrolment{Certificate: string(cert), CA: string(m.caPEM)}
	if !n.Has(cluster.Control) {
		e.Metadata = m.o.Metadata(n.Name)
		if e.User, e.Password, err = m.ensureUser(ctx, n.Name); err != nil {
			return nil, err
		}
	}
	m.changed(ctx)
	e.Membership = m.membership(n)
	return e, nil
}

// authorise checks the token. Whoever does not have it learns nothing.
func (m *Manager) authorise(ctx context.Context, r cluster.JoinRequest, n cluster.Node) error {
	t, err := m.store.Token(ctx, r.TokenID)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	digest := cluster.Digest(r.Secret)
	if t == nil || subtle.ConstantTimeCompare([]byte(t.Digest), []byte(digest)) != 1 {
		return fault.Forbiddenf("The join token is not one of this cloud, or has expired: make another with `tropo node token` on a control node.")
	}
	if !m.now().Before(t.Expires) {
		return fault.Forbiddenf("The join token has expired: make another with `tropo node token` on a control node.")
	}
	for _, role := range n.Roles {
		if !slices.Contains(t.Roles, role) {
			return fault.Forbiddenf("The join token does not allow the role %s: make one with `tropo node token --roles %s`.", role, roleNames(n.Roles))
		}
	}
	return nil
}

func roleNames(roles []cluster.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ",")
}

// acceptable checks what a machine says of itself.
func (m *Manager) acceptable(n cluster.Node) error {
	if !validName.MatchString(n.Name) || reserved(n.Name) {
		return fault.Invalidf("%q cannot name a node: use up to 63 letters, digits, dots and hyphens.", n.Name)
	}
	if len(n.Roles) == 0 {
		return fault.Invalidf("The node needs a role: control, compute, network, storage.")
	}
	if !n.Management.IsValid() {
		return fault.Invalidf("The node needs a management address at which the others reach it (--address).")
	}
	for _, a := range []netip.Addr{n.Management, n.Storage, n.Service} {
		if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Zone() != "") {
			return fault.Invalidf("%s cannot be the address of a node.", a)
		}
	}
	if n.Has(cluster.Control) {
		return m.sharable()
	}
	return nil
}

// reserved reports whether a name would make a certificate that speaks for
// others: names of hosts are compared without regard to case, and some check an
// address against names.
func reserved(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil || strings.EqualFold(name, cluster.AnyControl) || strings.EqualFold(name, "localhost")
}

// enrol keeps the node and signs its certificate, in a transaction.
func (m *Manager) enrol(ctx context.Context, n cluster.Node, token string, csr *x509.CertificateRequest) ([]byte, error) {
	e := store.Enrolled{Node: n, TokenID: token, KeyDigest: pki.KeyDigest(csr)}
	old, err := m.store.Node(ctx, n.Name)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	again := old != nil && !old.Revoked && old.TokenID == token && subtle.ConstantTimeCompare([]byte(old.KeyDigest), []byte(e.KeyDigest)) == 1
	if old != nil && !old.Revoked && !again {
		return nil, fault.Conflictf("A node with the name %s is part of the cloud: choose another with --name, or remove that one with `tropo node remove %s`.", n.Name, n.Name)
	}
	if err := m.addressFree(ctx, n); err != nil {
		return nil, err
	}
	if !again {
		if err := m.store.UseToken(ctx, token, m.now()); err != nil {
			return nil, err
		}
		// What was signed for an earlier machine of the name, even while that
		// was being removed, does not come back with the name.
		if err := m.store.KeepCertificates(ctx, n.Name, 0); err != nil {
			return nil, err
		}
	}
	if old == nil {
		err = m.store.CreateNode(ctx, e)
	} else {
		err = m.store.UpdateNode(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	_, cert, err := m.sign(ctx, csr, n)
	return cert, err
}

// addressFree refuses addresses of other nodes, whichever of theirs they are:
// the certificate is for all of the node's. It tells whose they are; of two
// that join at the same moment the store takes one.
func (m *Manager) addressFree(ctx context.Context, n cluster.Node) error {
	all, err := m.store.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Revoked || o.Name == n.Name {
			continue
		}
		if strings.EqualFold(o.Name, n.Name) {
			return fault.Conflictf("The node %s is part of the cloud: choose a name that differs in more than the case of its letters.", o.Name)
		}
		for _, a := range n.Addresses() {
			if slices.Contains(o.Addresses(), a) {
				return fault.Conflictf("The node %s has the address %s: give this one another with --address, --storage-address or --service-address.", o.Name, a)
			}
		}
	}
	return nil
}

// Remove ends a node's membership: its certificate and its user are worth
// nothing any more. It may be repeated.
func (m *Manager) Remove(ctx context.Context, name string) error {
	if name == m.o.Self.Name {
		return fault.Conflictf("A control node cannot remove itself: ask another one.")
	}
	if err := m.store.Revoke(ctx, name); err != nil {
		return err
	}
	m.changed(ctx)
	return m.disableUser(ctx, name)
}
