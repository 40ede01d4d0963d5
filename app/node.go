package app

import (
	"github.com/tropocloud/tropo/cluster"
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

// newMember is the place of this machine as configuration and, where it has
// joined a cloud, its enrolment tell.
func (s *System) newMember() (member, error) {
	roles, err := cluster.ParseRoles(s.o.Config.Node.Roles)
	if err != nil {
		return member{}, err
	}
	return member{
		Node:     cluster.Node{Name: s.host, Roles: roles},
		Controls: func() []cluster.Node { return nil },
	}, nil
}

// has reports whether this machine has the role.
func (s *System) has(r cluster.Role) bool { return s.member.Has(r) }
