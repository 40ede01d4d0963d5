package manager

import (
	"context"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// Policy returns one policy blob.
func (m *Manager) Policy(ctx context.Context, id string) (*identity.Policy, error) {
	return m.store.Policies.Get(ctx, id)
}

// Policies lists policy blobs.
func (m *Manager) Policies(ctx context.Context, q identity.Query) ([]identity.Policy, error) {
	return m.store.Policies.List(ctx, q)
}

// CreatePolicy stores a policy blob.
func (m *Manager) CreatePolicy(ctx context.Context, p identity.Policy) (*identity.Policy, error) {
	p.ID = rowID(ctx)
	return &p, m.store.Policies.Create(ctx, &p)
}

// UpdatePolicy stores the differences of after to before.
func (m *Manager) UpdatePolicy(ctx context.Context, before, after *identity.Policy) error {
	return m.store.Policies.Update(ctx, before.ID, before, after)
}

// DeletePolicy removes a policy blob with its associations.
func (m *Manager) DeletePolicy(ctx context.Context, id string) error {
	return m.store.Policies.Delete(ctx, id)
}

// AssociatePolicy ties a policy to an endpoint, a service, or a service in a
// region.
func (m *Manager) AssociatePolicy(ctx context.Context, a identity.PolicyAssociation) error {
	return m.store.AssociatePolicy(ctx, a)
}

// CheckPolicyAssociation is fault.NotFound unless the association exists.
func (m *Manager) CheckPolicyAssociation(ctx context.Context, a identity.PolicyAssociation) error {
	list, err := m.store.PolicyAssociations(ctx, identity.By("policy_id", a.PolicyID).And("endpoint_id", a.EndpointID).And("service_id", a.ServiceID).And("region_id", a.RegionID))
	if err == nil && len(list) == 0 {
		return fault.New(fault.NotFound, "Could not find an association of policy %s.", a.PolicyID)
	}
	return err
}

// DissociatePolicy ends an association.
func (m *Manager) DissociatePolicy(ctx context.Context, a identity.PolicyAssociation) error {
	return m.store.DissociatePolicy(ctx, a)
}

// PolicyOfEndpoint finds the policy that is in force for an endpoint: its own,
// that of its service in its region or a region above, that of its service.
func (m *Manager) PolicyOfEndpoint(ctx context.Context, e *identity.Endpoint) (*identity.Policy, error) {
	list, err := m.store.PolicyAssociations(ctx, identity.Query{})
	if err != nil {
		return nil, err
	}
	pick := func(endpoint, service, region string) string {
		for _, a := range list {
			if a.EndpointID == endpoint && a.ServiceID == service && a.RegionID == region {
				return a.PolicyID
			}
		}
		return ""
	}
	id := pick(e.ID, "", "")
	for region, n := string(e.RegionID), 0; id == "" && region != "" && n < 64; n++ {
		if id = pick("", e.ServiceID, region); id != "" {
			break
		}
		up, err := m.store.Regions.Get(ctx, region)
		if err != nil {
			return nil, err
		}
		region = string(up.ParentRegionID)
	}
	if id == "" {
		id = pick("", e.ServiceID, "")
	}
	if id == "" {
		return nil, fault.New(fault.NotFound, "No policy is associated with endpoint %s.", e.ID)
	}
	return m.store.Policies.Get(ctx, id)
}

// EndpointsOfPolicy lists the endpoints for which a policy is in force.
func (m *Manager) EndpointsOfPolicy(ctx context.Context, id string) ([]identity.Endpoint, error) {
	all, err := m.store.Endpoints.List(ctx, identity.Query{})
	if err != nil {
		return nil, err
	}
	out := []identity.Endpoint{}
	for i := range all {
		p, err := m.PolicyOfEndpoint(ctx, &all[i])
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.ID == id {
			out = append(out, all[i])
		}
	}
	return out, nil
}
