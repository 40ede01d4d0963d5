package store

import (
	"context"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// PasswordsOf returns a user's passwords, the one in force first.
func (s *Store) PasswordsOf(ctx context.Context, userID string) ([]identity.Password, error) {
	return db.Select[identity.Password](ctx, s.db, "SELECT "+db.Columns[identity.Password]("")+
		" FROM passwords WHERE user_id = ? ORDER BY created_at DESC, id DESC LIMIT 64", userID)
}

// CurrentPasswords returns the passwords in force of some users, by user.
func (s *Store) CurrentPasswords(ctx context.Context, userIDs []string) (map[string]identity.Password, error) {
	out := map[string]identity.Password{}
	for len(userIDs) > 0 {
		n := min(len(userIDs), 500)
		w, args := db.Where().In("user_id", userIDs[:n]).SQL()
		rows, err := db.Select[identity.Password](ctx, s.db, "SELECT "+db.Columns[identity.Password]("")+" FROM passwords"+w+" ORDER BY created_at", args...)
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			out[p.UserID] = p
		}
		userIDs = userIDs[n:]
	}
	return out, nil
}

// TrimPasswords keeps the newest n of a user's passwords.
func (s *Store) TrimPasswords(ctx context.Context, userID string, n int) error {
	all, err := s.PasswordsOf(ctx, userID)
	if err != nil {
		return err
	}
	for i := n; i < len(all); i++ {
		if err := s.Passwords.Delete(ctx, all[i].ID); err != nil {
			return err
		}
	}
	return nil
}

// AuthFailed counts a wrong password.
func (s *Store) AuthFailed(ctx context.Context, userID string, at time.Time) error {
	_, err := db.Exec(ctx, s.db, "UPDATE users SET failed_auths = failed_auths + 1, failed_auth_at = ? WHERE id = ?", at, userID)
	return err
}

// AuthSucceeded forgets wrong passwords and, where active is set, notes the
// login.
func (s *Store) AuthSucceeded(ctx context.Context, userID string, active *time.Time) error {
	set := db.Set{"failed_auths": 0, "failed_auth_at": (*time.Time)(nil)}
	if active != nil {
		set["last_active_at"] = *active
	}
	_, err := db.Update(ctx, s.db, "users", set, db.ByID(userID))
	return err
}

// AddMember puts a user into a group; one who is in it stays.
func (s *Store) AddMember(ctx context.Context, m identity.Membership) error {
	return db.Upsert(ctx, s.db, "memberships", m, "user_id", "group_id")
}

// IsMember reports whether a user is in a group.
func (s *Store) IsMember(ctx context.Context, m identity.Membership) (bool, error) {
	n, err := db.Count(ctx, s.db, `SELECT (SELECT COUNT(*) FROM memberships WHERE user_id = ? AND group_id = ?) +
  (SELECT COUNT(*) FROM expiring_memberships WHERE user_id = ? AND group_id = ? AND expires_at > ?)`, m.UserID, m.GroupID, m.UserID, m.GroupID, db.Now())
	return n > 0, err
}

// RemoveMember takes a user out of a group.
func (s *Store) RemoveMember(ctx context.Context, m identity.Membership) error {
	n, err := db.Delete(ctx, s.db, "memberships", db.Where().Eq("user_id", m.UserID).Eq("group_id", m.GroupID))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Could not find user '%s' in group '%s'.", m.UserID, m.GroupID)
	}
	return err
}

// UsersIn lists the users of a group.
func (s *Store) UsersIn(ctx context.Context, groupID string, q identity.Query) ([]identity.User, error) {
	return s.Users.ListWhere(ctx, q, db.Where().Raw("id IN (SELECT user_id FROM memberships WHERE group_id = ?) OR id IN (SELECT user_id FROM expiring_memberships WHERE group_id = ? AND expires_at > ?)",
		groupID, groupID, db.Now()))
}

// GroupsOf lists the groups of a user.
func (s *Store) GroupsOf(ctx context.Context, userID string, q identity.Query) ([]identity.Group, error) {
	return s.Groups.ListWhere(ctx, q, db.Where().Raw("id IN (SELECT group_id FROM memberships WHERE user_id = ?) OR id IN (SELECT group_id FROM expiring_memberships WHERE user_id = ? AND expires_at > ?)",
		userID, userID, db.Now()))
}

// Memberships lists who is in some groups.
func (s *Store) Memberships(ctx context.Context, groupIDs []string) ([]identity.Membership, error) {
	w, args := db.Where().In("group_id", groupIDs).SQL()
	return db.Select[identity.Membership](ctx, s.db, "SELECT user_id, group_id FROM memberships"+w+" ORDER BY group_id, user_id LIMIT "+bound, args...)
}

// JoinUntil notes that an identity provider put a user into a group.
func (s *Store) JoinUntil(ctx context.Context, userID, groupID, providerID string, until time.Time) error {
	type row struct {
		UserID    string    `db:"user_id"`
		GroupID   string    `db:"group_id"`
		IdpID     string    `db:"idp_id"`
		ExpiresAt time.Time `db:"expires_at"`
	}
	return db.Upsert(ctx, s.db, "expiring_memberships", row{userID, groupID, providerID, until}, "user_id", "group_id", "idp_id")
}
