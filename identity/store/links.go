package store

import (
	"context"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// The associations of projects with endpoints and endpoint groups.
const (
	ProjectEndpoints      = "project_endpoints"
	ProjectEndpointGroups = "project_endpoint_groups"
)

func other(table string) string {
	if table == ProjectEndpoints {
		return "endpoint_id"
	}
	return "endpoint_group_id"
}

// Link associates a project with an endpoint or an endpoint group (the table
// says which).
func (s *Store) Link(ctx context.Context, table, projectID, id string) error {
	if table == ProjectEndpoints {
		type row struct {
			ProjectID  string `db:"project_id"`
			EndpointID string `db:"endpoint_id"`
		}
		return db.Upsert(ctx, s.db, table, row{projectID, id}, "project_id", "endpoint_id")
	}
	type row struct {
		ProjectID string `db:"project_id"`
		GroupID   string `db:"endpoint_group_id"`
	}
	return db.Upsert(ctx, s.db, table, row{projectID, id}, "project_id", "endpoint_group_id")
}

// Linked reports whether they are associated.
func (s *Store) Linked(ctx context.Context, table, projectID, id string) (bool, error) {
	n, err := db.Count(ctx, s.db, "SELECT COUNT(*) FROM "+table+" WHERE project_id = ? AND "+other(table)+" = ?", projectID, id)
	return n > 0, err
}

// Unlink ends the association.
func (s *Store) Unlink(ctx context.Context, table, projectID, id string) error {
	n, err := db.Delete(ctx, s.db, table, db.Where().Eq("project_id", projectID).Eq(other(table), id))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Could not find an association of project %s with %s.", projectID, id)
	}
	return err
}

// LinkedTo lists the ids that a project is associated with.
func (s *Store) LinkedTo(ctx context.Context, table, projectID string) ([]string, error) {
	return db.Select[string](ctx, s.db, "SELECT "+other(table)+" FROM "+table+" WHERE project_id = ? ORDER BY 1 LIMIT "+bound, projectID)
}

// ProjectsLinkedTo lists the projects that are associated with an id.
func (s *Store) ProjectsLinkedTo(ctx context.Context, table, id string) ([]string, error) {
	return db.Select[string](ctx, s.db, "SELECT project_id FROM "+table+" WHERE "+other(table)+" = ? ORDER BY 1 LIMIT "+bound, id)
}

// AssociatePolicy ties a policy, in place of the one before.
func (s *Store) AssociatePolicy(ctx context.Context, a identity.PolicyAssociation) error {
	return db.Upsert(ctx, s.db, "policy_associations", a, "endpoint_id", "service_id", "region_id")
}

// PolicyAssociations lists those that match.
func (s *Store) PolicyAssociations(ctx context.Context, q identity.Query) ([]identity.PolicyAssociation, error) {
	w := db.Where()
	for _, f := range q.Filters {
		where(w, f)
	}
	sql, args := w.SQL()
	return db.Select[identity.PolicyAssociation](ctx, s.db, "SELECT policy_id, endpoint_id, service_id, region_id FROM policy_associations"+sql+" ORDER BY endpoint_id, service_id, region_id LIMIT "+bound, args...)
}

// DissociatePolicy ends an association.
func (s *Store) DissociatePolicy(ctx context.Context, a identity.PolicyAssociation) error {
	n, err := db.Delete(ctx, s.db, "policy_associations", db.Where().Eq("policy_id", a.PolicyID).Eq("endpoint_id", a.EndpointID).Eq("service_id", a.ServiceID).Eq("region_id", a.RegionID))
	if err == nil && n == 0 {
		return fault.New(fault.NotFound, "Could not find an association of policy %s.", a.PolicyID)
	}
	return err
}

// ForgetPolicyOf ends the associations of an endpoint or a service that goes.
func (s *Store) ForgetPolicyOf(ctx context.Context, column, id string) error {
	_, err := db.Delete(ctx, s.db, "policy_associations", db.Where().Eq(column, id))
	return err
}
