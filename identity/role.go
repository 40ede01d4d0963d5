package identity

// Role is a name that policies know. One with a domain only stands for the
// roles that it implies, within that domain.
type Role struct {
	ID          string `db:"id" json:"id"`
	Name        string `db:"name" json:"name"`
	DomainID    string `db:"domain_id" json:"domain_id"`
	Description string `db:"description" json:"description"`
	Options     Extra  `db:"options" json:"options"`
	Extra       Extra  `db:"extra" json:"-"`
}

// Implication says that who has the prior role has the implied one.
type Implication struct {
	PriorID   string `db:"prior_role_id"`
	ImpliedID string `db:"implied_role_id"`
}

// Assignment gives a role on a target to an actor. An inherited one holds on
// the projects below the target, not on the target.
type Assignment struct {
	ActorType  string `db:"actor_type"` // ActorUser, ActorGroup
	ActorID    string `db:"actor_id"`
	TargetType string `db:"target_type"` // TargetProject, TargetDomain, TargetSystem
	TargetID   string `db:"target_id"`   // "system" for the system
	RoleID     string `db:"role_id"`
	Inherited  bool   `db:"inherited"`
}
