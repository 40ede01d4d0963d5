package manager

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
)

// QuotaUse is a limit with what is used of it.
type QuotaUse struct {
	Limit    int `json:"limit"`
	Used     int `json:"used"`
	Reserved int `json:"reserved"`
}

// reserve checks that the project may have n more of a kind. The lock that it
// takes makes concurrent requests of the project wait, so that they count
// each other's rows.
func (m *Manager) reserve(ctx context.Context, k *network.Kind, project string, n int) error {
	if err := m.store.Lock(ctx, project); err != nil {
		return err
	}
	limits, err := m.Quotas(ctx, project)
	if err != nil {
		return err
	}
	limit, ok := limits[k.Name]
	if !ok || limit < 0 {
		return nil
	}
	used, err := m.store.Count(ctx, k.Table, project)
	if err != nil {
		return err
	}
	if used+n > limit {
		return fault.OverQuotaf("Quota exceeded for resources: ['%s'].", k.Name).WithType("OverQuota")
	}
	return nil
}

// Quotas returns a project's limits by quota name; -1 means none.
func (m *Manager) Quotas(ctx context.Context, project string) (map[string]int, error) {
	out := m.conf.Quota.Defaults()
	set, err := m.store.Quotas(ctx, project)
	for name, n := range set[project] {
		out[name] = n
	}
	return out, err
}

// QuotaDefaults returns the limits of projects without their own.
func (m *Manager) QuotaDefaults() map[string]int { return m.conf.Quota.Defaults() }

// AllQuotas returns the limits of the projects that have their own.
func (m *Manager) AllQuotas(ctx context.Context) (map[string]map[string]int, error) {
	set, err := m.store.Quotas(ctx, "")
	for project := range set {
		all := m.conf.Quota.Defaults()
		for name, n := range set[project] {
			all[name] = n
		}
		set[project] = all
	}
	return set, err
}

// QuotaDetails returns a project's limits and use.
func (m *Manager) QuotaDetails(ctx context.Context, project string) (map[string]QuotaUse, error) {
	limits, err := m.Quotas(ctx, project)
	if err != nil {
		return nil, err
	}
	out := map[string]QuotaUse{}
	for _, k := range quotaKinds() {
		used, err := m.store.Count(ctx, k.Table, project)
		if err != nil {
			return nil, err
		}
		out[k.Name] = QuotaUse{Limit: limits[k.Name], Used: used}
	}
	return out, nil
}

func quotaKinds() []*network.Kind {
	return []*network.Kind{
		(*network.Network)(nil).Kind(), (*network.Subnet)(nil).Kind(), (*network.Port)(nil).Kind(), (*network.Router)(nil).Kind(),
		(*network.FloatingIP)(nil).Kind(), (*network.SecurityGroup)(nil).Kind(), (*network.SecurityGroupRule)(nil).Kind(),
		(*network.SubnetPool)(nil).Kind(), (*network.RBACPolicy)(nil).Kind(), (*network.AddressGroup)(nil).Kind(),
	}
}

// SetQuotas sets some of a project's limits. With checkLimit, a limit below
// what is used is refused.
func (m *Manager) SetQuotas(ctx context.Context, project string, limits map[string]int, checkLimit bool) (map[string]int, error) {
	err := m.tx(ctx, func(ctx context.Context) error {
		if err := m.store.Lock(ctx, project); err != nil {
			return err
		}
		var low []string
		for _, k := range quotaKinds() {
			n, ok := limits[k.Name]
			if !ok {
				continue
			}
			if checkLimit && n >= 0 {
				used, err := m.store.Count(ctx, k.Table, project)
				if err != nil {
					return err
				}
				if used > n {
					low = append(low, k.Name)
				}
			}
			if err := m.store.SetQuota(ctx, project, k.Name, n); err != nil {
				return err
			}
		}
		if len(low) > 0 {
			slices.Sort(low)
			return fault.Invalidf("Quota limit is lower than what is used for: %s.", strings.Join(low, ", ")).WithType("InvalidQuotaValue")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m.Quotas(ctx, project)
}

// ResetQuotas forgets a project's own limits.
func (m *Manager) ResetQuotas(ctx context.Context, project string) error {
	there, err := m.store.ResetQuotas(ctx, project)
	if err == nil && !there {
		return fault.New(fault.NotFound, "Quota for tenant %s could not be found.", project).WithType("TenantQuotaNotFound")
	}
	if err != nil {
		return fmt.Errorf("reset quotas: %w", err)
	}
	return nil
}
