package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// Grant stores an assignment; one that exists stays.
func (s *Store) Grant(ctx context.Context, a identity.Assignment) error {
	return db.Upsert(ctx, s.db, "assignments", a, "actor_id", "target_id", "role_id", "inherited", "actor_type", "target_type")
}

func assignment(a identity.Assignment) *db.Cond {
	return db.Where().Eq("actor_type", a.ActorType).Eq("actor_id", a.ActorID).Eq("target_type", a.TargetType).
		Eq("target_id", a.TargetID).Eq("role_id", a.RoleID).Eq("inherited", a.Inherited)
}

// Granted reports whether the assignment exists.
func (s *Store) Granted(ctx context.Context, a identity.Assignment) (bool, error) {
	where, args := assignment(a).SQL()
	n, err := db.Count(ctx, s.db, "SELECT COUNT(*) FROM assignments"+where, args...)
	return n > 0, err
}

// RevokeGrant removes an assignment; fault.NotFound where there is none.
func (s *Store) RevokeGrant(ctx context.Context, a identity.Assignment) error {
	n, err := db.Delete(ctx, s.db, "assignments", assignment(a))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Could not find role assignment with role: %s, user or group: %s, project, domain, or system: %s.", a.RoleID, a.ActorID, a.TargetID)
	}
	return err
}

// Assignments lists those that match, at most MaxList, in a fixed order.
func (s *Store) Assignments(ctx context.Context, q identity.Query) ([]identity.Assignment, error) {
	w := db.Where()
	for _, f := range q.Filters {
		where(w, f)
	}
	sql, args := w.SQL()
	return db.Select[identity.Assignment](ctx, s.db, "SELECT "+db.Columns[identity.Assignment]("")+" FROM assignments"+sql+
		" ORDER BY target_type, target_id, actor_type, actor_id, role_id, inherited LIMIT "+bound, args...)
}

const bound = "10000" // MaxList

// RemoveAssignments removes those of an actor or on a target, when it goes.
func (s *Store) RemoveAssignments(ctx context.Context, column, id string) error {
	_, err := db.Delete(ctx, s.db, "assignments", db.Where().Eq(column, id))
	return err
}

// userOrGroups is the condition that an assignment is the user's or that of a
// group that the user is in; its arguments are the user's id three times and
// the time.
const userOrGroups = `((actor_type = 'user' AND actor_id = ?) OR (actor_type = 'group' AND (
  actor_id IN (SELECT group_id FROM memberships WHERE user_id = ?) OR
  actor_id IN (SELECT group_id FROM expiring_memberships WHERE user_id = ? AND expires_at > ?))))`

func actorArgs(userID string, groups []string) (string, []any) {
	cond, args := userOrGroups, []any{userID, userID, userID, db.Now()}
	if len(groups) > 0 {
		w, more := db.Where().Eq("actor_type", "group").In("actor_id", groups).SQL()
		cond = "(" + cond + " OR (" + w[len(" WHERE "):] + "))"
		args = append(args, more...)
	}
	return cond, args
}

// RolesOnProject returns the ids of the roles that a user (being in groups as
// well) has on a project: its own, and those inherited from ancestors (which
// include the domain). Implied roles are not among them.
func (s *Store) RolesOnProject(ctx context.Context, userID string, groups []string, projectID string, ancestors []string) ([]string, error) {
	cond, args := actorArgs(userID, groups)
	up, more := db.Where().In("target_id", ancestors).SQL()
	args = append(append(args, projectID), more...)
	return db.Select[string](ctx, s.db, `SELECT DISTINCT role_id FROM assignments WHERE `+cond+
		` AND ((target_id = ? AND target_type = 'project' AND inherited = FALSE) OR (inherited = TRUE AND `+up[len(" WHERE "):]+`))`, args...)
}

// RolesOn returns the ids of the roles that a user has on a domain or the
// system.
func (s *Store) RolesOn(ctx context.Context, userID string, groups []string, targetType, targetID string) ([]string, error) {
	cond, args := actorArgs(userID, groups)
	return db.Select[string](ctx, s.db, `SELECT DISTINCT role_id FROM assignments WHERE `+cond+
		` AND target_type = ? AND target_id = ? AND inherited = FALSE`, append(args, targetType, targetID)...)
}

// AssignmentsOf lists everything that a user has, directly or by a group.
func (s *Store) AssignmentsOf(ctx context.Context, userID string, groups []string) ([]identity.Assignment, error) {
	cond, args := actorArgs(userID, groups)
	return db.Select[identity.Assignment](ctx, s.db, "SELECT "+db.Columns[identity.Assignment]("")+" FROM assignments WHERE "+cond+" LIMIT "+bound, args...)
}

// Implications lists every implied role.
func (s *Store) Implications(ctx context.Context) ([]identity.Implication, error) {
	return db.Select[identity.Implication](ctx, s.db, "SELECT prior_role_id, implied_role_id FROM implied_roles ORDER BY prior_role_id, implied_role_id LIMIT "+bound)
}

// Imply stores an implied role; one that exists is fault.Conflict unless again.
func (s *Store) Imply(ctx context.Context, i identity.Implication) error {
	return db.Upsert(ctx, s.db, "implied_roles", i, "prior_role_id", "implied_role_id")
}

// Unimply removes an implied role.
func (s *Store) Unimply(ctx context.Context, i identity.Implication) error {
	n, err := db.Delete(ctx, s.db, "implied_roles", db.Where().Eq("prior_role_id", i.PriorID).Eq("implied_role_id", i.ImpliedID))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "%s does not imply %s.", i.PriorID, i.ImpliedID)
	}
	return err
}
