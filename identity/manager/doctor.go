package manager

import (
	"context"
	"fmt"
	"strings"

	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// Checks are what the doctor looks for in the identity service.
func (m *Manager) Checks() []doctor.Check {
	return []doctor.Check{{Name: "assignment-orphan", Service: "identity", Find: m.findAssignments, Heal: m.healAssignment}}
}

// findAssignments finds roles of users and groups, and on projects and
// domains, that do not exist.
func (m *Manager) findAssignments(ctx context.Context, l *doctor.Look) error {
	list, err := m.store.LostAssignments(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		why, err := m.lost(ctx, a)
		if err != nil {
			l.Unchecked(a.ActorType+" "+a.ActorID, err)
			continue
		}
		if why != "" {
			l.Found(doctor.Finding{Severity: doctor.Warning, Kind: "role-assignment", ID: assignmentID(a), Problem: "of a role " + why, Fix: "remove the assignment"})
		}
	}
	return nil
}

// lost says which side of the assignment is gone, "" for none. Ids as those of
// directories' entries are not judged: who is in a directory is its business.
func (m *Manager) lost(ctx context.Context, a identity.Assignment) (string, error) {
	if a.TargetType == identity.TargetProject || a.TargetType == identity.TargetDomain {
		if _, err := m.store.Projects.Get(ctx, a.TargetID); fault.Is(err, fault.NotFound) {
			return fmt.Sprintf("on the %s %s, which does not exist", a.TargetType, a.TargetID), nil
		} else if err != nil {
			return "", err
		}
	}
	if identity.MaybePublicID(a.ActorID) {
		return "", nil
	}
	var err error
	if a.ActorType == identity.ActorUser {
		_, err = m.store.Users.Get(ctx, a.ActorID)
	} else {
		_, err = m.store.Groups.Get(ctx, a.ActorID)
	}
	if fault.Is(err, fault.NotFound) {
		return fmt.Sprintf("of the %s %s, which does not exist", a.ActorType, a.ActorID), nil
	}
	return "", err
}

func assignmentID(a identity.Assignment) string {
	inherited := ""
	if a.Inherited {
		inherited = "inherited"
	}
	return strings.Join([]string{a.ActorType, a.ActorID, a.TargetType, a.TargetID, a.RoleID, inherited}, "/")
}

func (m *Manager) healAssignment(ctx context.Context, f doctor.Finding) error {
	list, err := m.store.LostAssignments(ctx)
	if err != nil {
		return err
	}
	for _, a := range list {
		if assignmentID(a) != f.ID {
			continue
		}
		why, err := m.lost(ctx, a)
		if err != nil || why == "" {
			return err
		}
		if err := m.RevokeGrant(ctx, a); !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}
