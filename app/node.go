package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"

	"github.com/tropocloud/tropo/cluster"
	clustermanager "github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

// member is this machine's place in the cloud.
type member struct {
	cluster.Node
	// Files is nil where the cloud has one machine.
	Files *cluster.Files
	// Controls are the control nodes as last heard, this one included; none
	// where the cloud has one machine.
	Controls func() []cluster.Node
	// User is the identity user with which this node's agents ask the APIs,
	// "" on a control node (the services' own users).
	User string
}

// alone reports whether the cloud has (and can have) only this machine.
func (m member) alone() bool { return !m.Management.IsValid() }

// enrolment is what a machine of a cloud of many keeps of its place, in
// node.json of its state folder.
type enrolment struct {
	cluster.Membership
	// Founder: the first control node, whose place configuration tells and
	// whose addresses the catalog has.
	Founder  bool   `json:"founder,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"`
	Metadata string `json:"metadata_secret,omitempty"`
	// Database and Transport are [database] connection and [bus]
	// transport_url of a control node that joined.
	Database  string `json:"database,omitempty"`
	Transport string `json:"transport_url,omitempty"`
	// Links of [node], as given to join.
	ServiceInterface  string `json:"service_interface,omitempty"`
	ProviderInterface string `json:"provider_interface,omitempty"`
	// Partial: the certificate is there, but not yet what a control node
	// needs.
	Partial bool `json:"partial,omitempty"`
}

// control reports whether it is of a control node.
func (e *enrolment) control() bool { return slices.Contains(e.Node.Roles, cluster.Control) }

// Enrolment reads node.json; nil where the machine is of no cloud of many.
func (s *State) enrolment() (*enrolment, error) {
	b, err := os.ReadFile(s.Path("node.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e := &enrolment{}
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("read %s: %w", s.Path("node.json"), err)
	}
	return e, nil
}

func (s *State) writeEnrolment(e *enrolment) error {
	b, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(s.Path("node.json"), append(b, '\n'), 0o600)
}

// place holds what this node knows of the cloud's others; heartbeats change it.
type place struct {
	mu sync.RWMutex
	e  *enrolment
}

// now is what is known at this moment; it is not changed any more.
func (p *place) now() *enrolment {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.e
}

func (p *place) controls() []cluster.Node {
	e := p.now()
	list := make([]cluster.Node, len(e.Controls))
	for i, d := range e.Controls {
		list[i] = d.Node()
	}
	return list
}

// learn takes what a control node told, and reports whether it is news. An
// answer without control nodes is none.
func (p *place) learn(m cluster.Membership) (*enrolment, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := func(a, b cluster.NodeDocument) bool {
		return a.Name == b.Name && a.Management == b.Management && slices.Equal(a.Roles, b.Roles)
	}
	if len(m.Controls) == 0 || slices.EqualFunc(m.Controls, p.e.Controls, same) && m.Bus == p.e.Bus && m.Public == p.e.Public {
		return nil, false
	}
	next := *p.e
	next.Controls, next.Bus, next.Public = m.Controls, m.Bus, m.Public
	p.e = &next
	return p.e, true
}

// newMember is the place of this machine as configuration and, where it has
// joined a cloud, its enrolment tell.
func (s *System) newMember() (member, error) {
	e, err := s.state.enrolment()
	if err != nil {
		return member{}, err
	}
	c := &s.o.Config
	n := cluster.Node{Name: s.host}
	if n.Roles, err = cluster.ParseRoles(c.Node.Roles); err != nil {
		return member{}, err
	}
	for _, a := range []struct {
		option, text string
		to           *netip.Addr
	}{
		{"management_address", c.Node.ManagementAddress, &n.Management},
		{"storage_address", c.Node.StorageAddress, &n.Storage},
		{"service_address", c.Node.ServiceAddress, &n.Service},
	} {
		if a.text == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.text); err != nil || a.to.IsUnspecified() {
			return member{}, fault.Invalidf("[node] %s: %q is not an address of this machine.", a.option, a.text)
		}
	}
	if e == nil && !n.Management.IsValid() {
		if !n.Has(cluster.Control) {
			return member{}, fault.Invalidf("A machine without the role control must join a cloud: use `tropo join`.")
		}
		return member{Node: n, Controls: func() []cluster.Node { return nil }}, nil
	}
	if e == nil || e.Founder && n.Management.IsValid() {
		if !n.Has(cluster.Control) {
			return member{}, fault.Invalidf("The first node of a cloud needs the role control; for others use `tropo join`.")
		}
		e = founder(e, n, c)
		if err := s.state.writeEnrolment(e); err != nil {
			return member{}, err
		}
	}
	if e.Partial {
		return member{}, fault.Conflictf("This machine has not finished to join: run the same `tropo join` again.")
	}
	return s.enrolled(e), nil
}

// founder is the place of a cloud's first node. It keeps where the database and
// the bus are, so that a start without the configuration file does not begin
// another cloud.
func founder(before *enrolment, n cluster.Node, c *Config) *enrolment {
	e := &enrolment{
		Founder: true, Membership: cluster.Membership{Node: n.Document(), Controls: []cluster.NodeDocument{n.Document()}},
		Database: c.Database.Connection,
	}
	if c.Bus.URL != "inproc:" {
		e.Transport = c.Bus.URL
	}
	if before != nil {
		e.Controls = before.Controls
		e.Database, e.Transport = cmp.Or(e.Database, before.Database), cmp.Or(e.Transport, before.Transport)
	}
	return e
}

// enrolled is the place of a machine that has joined, and completes the
// configuration by what it was told.
func (s *System) enrolled(e *enrolment) member {
	c := &s.o.Config
	s.place = &place{e: e}
	s.host = e.Node.Name
	e.complete(c)
	files := clustermanager.Files(s.state.Path("pki"))
	return member{Node: e.Node.Node(), Files: &files, Controls: s.place.controls, User: e.User}
}

// complete fills what the configuration leaves open.
func (e *enrolment) complete(c *Config) {
	fill := func(to *string, with string) {
		if *to == "" {
			*to = with
		}
	}
	fill(&c.Node.ServiceInterface, e.ServiceInterface)
	fill(&c.Node.ProviderInterface, e.ProviderInterface)
	fill(&c.Database.Connection, e.Database)
	if c.Bus.URL == "inproc:" {
		c.Bus.URL = ""
	}
	if e.control() {
		fill(&c.Bus.URL, e.Transport)
	} else {
		fill(&c.Bus.URL, e.Bus)
	}
}

// has reports whether this machine has the role.
func (s *System) has(r cluster.Role) bool { return s.member.Has(r) }

// agentOnly reports whether this machine is of a cloud whose services run
// elsewhere.
func (s *System) agentOnly() bool { return !s.has(cluster.Control) }

// loadSecrets reads what this kind of node may hold.
func (s *State) loadSecrets(adminPassword string) (*Secrets, error) {
	e, err := s.enrolment()
	if err != nil {
		return nil, err
	}
	if e != nil && !e.control() {
		return s.nodeSecrets(e.Metadata)
	}
	return s.Secrets(adminPassword)
}

// keepPlace stores news about the cloud for the next start.
func (s *System) keepPlace(_ context.Context, m cluster.Membership) error {
	e, news := s.place.learn(m)
	if !news {
		return nil
	}
	return s.state.writeEnrolment(e)
}
