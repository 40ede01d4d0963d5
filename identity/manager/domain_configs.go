package manager

import (
	"context"
	"slices"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
)

// DomainConfig is options by group.
type DomainConfig map[string]map[string]any

// checkOptions refuses groups and options that a domain may not set.
func checkOptions(c DomainConfig) error {
	known, secret := identity.DomainOptions(), identity.SecretDomainOptions()
	if len(c) == 0 {
		return fault.Forbiddenf("Invalid domain specific configuration: No options specified.")
	}
	for g, opts := range c {
		if known[g] == nil {
			return fault.Forbiddenf("Invalid domain specific configuration: Group %s is not supported for domain specific configurations.", g)
		}
		for o := range opts {
			if _, ok := known[g][o]; !ok && !slices.Contains(secret[g], o) {
				return fault.Forbiddenf("Invalid domain specific configuration: Option %s in group %s is not supported for domain specific configurations.", o, g)
			}
		}
	}
	return nil
}

// DomainConfig returns what a domain sets, or a group or an option of it,
// without secrets; fault.NotFound where it sets nothing.
func (m *Manager) DomainConfig(ctx context.Context, domainID, group, option string) (DomainConfig, error) {
	list, err := m.store.DomainOptions(ctx, domainID, group)
	if err != nil {
		return nil, err
	}
	out := DomainConfig{}
	for _, o := range list {
		if option != "" && o.Option != option || slices.Contains(identity.SecretDomainOptions()[o.Group], o.Option) {
			continue
		}
		if out[o.Group] == nil {
			out[o.Group] = map[string]any{}
		}
		out[o.Group][o.Option] = o.Value.V
	}
	if len(out) == 0 {
		return nil, noConfig(domainID, group, option)
	}
	return out, nil
}

func noConfig(domainID, group, option string) error {
	what := "any options"
	switch {
	case option != "":
		what = "option " + option + " in group " + group
	case group != "":
		what = "group " + group
	}
	return fault.New(fault.NotFound, "Could not find %s in domain configuration for domain %s.", what, domainID)
}

// PutDomainConfig replaces all that a domain sets, and reports whether it set
// nothing before.
func (m *Manager) PutDomainConfig(ctx context.Context, domainID string, c DomainConfig) (created bool, err error) {
	if err := checkOptions(c); err != nil {
		return false, err
	}
	err = m.change(ctx, func(ctx context.Context) error {
		n, err := m.store.ClearDomainOptions(ctx, domainID, "", "")
		if err != nil {
			return err
		}
		created = n == 0
		return m.setOptions(ctx, domainID, c)
	})
	return created, err
}

func (m *Manager) setOptions(ctx context.Context, domainID string, c DomainConfig) error {
	for g, opts := range c {
		for o, v := range opts {
			if err := m.store.SetDomainOption(ctx, identity.DomainOption{DomainID: domainID, Group: g, Option: o, Value: identity.Doc{V: v}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// PatchDomainConfig changes options of a configuration; with a group, or a
// group and an option, only that, which must exist.
func (m *Manager) PatchDomainConfig(ctx context.Context, domainID, group, option string, c DomainConfig) error {
	if err := checkOptions(c); err != nil {
		return err
	}
	if group != "" {
		if _, ok := c[group]; !ok || len(c) > 1 {
			return fault.Forbiddenf("Invalid domain specific configuration: Trying to update group %s, so that, and only that, group must be specified in the config.", group)
		}
		if _, ok := c[group][option]; option != "" && (!ok || len(c[group]) > 1) {
			return fault.Forbiddenf("Invalid domain specific configuration: Trying to update option %s in group %s, but config provided contains other options.", option, group)
		}
		if err := checkNames(group, option); err != nil {
			return err
		}
	}
	return m.change(ctx, func(ctx context.Context) error {
		list, err := m.store.DomainOptions(ctx, domainID, group)
		if err != nil {
			return err
		}
		have := slices.ContainsFunc(list, func(o identity.DomainOption) bool { return option == "" || o.Option == option })
		if group != "" && !have {
			return noConfig(domainID, group, option)
		}
		return m.setOptions(ctx, domainID, c)
	})
}

func checkNames(group, option string) error {
	known := identity.DomainOptions()[group]
	if known == nil {
		return fault.Forbiddenf("Invalid domain specific configuration: Group %s is not supported for domain specific configurations.", group)
	}
	if _, ok := known[option]; option != "" && !ok && !slices.Contains(identity.SecretDomainOptions()[group], option) {
		return fault.Forbiddenf("Invalid domain specific configuration: Option %s in group %s is not supported for domain specific configurations.", option, group)
	}
	return nil
}

// DeleteDomainConfig removes what a domain sets, or a group or an option of it.
func (m *Manager) DeleteDomainConfig(ctx context.Context, domainID, group, option string) error {
	return m.change(ctx, func(ctx context.Context) error {
		n, err := m.store.ClearDomainOptions(ctx, domainID, group, option)
		if err == nil && n == 0 {
			return noConfig(domainID, group, option)
		}
		return err
	})
}

// DefaultDomainConfig returns the defaults of all groups, one, or one option.
func (m *Manager) DefaultDomainConfig(group, option string) (DomainConfig, error) {
	if group == "" {
		return DomainConfig(identity.DomainOptions()), nil
	}
	if err := checkNames(group, option); err != nil {
		return nil, err
	}
	all := identity.DomainOptions()[group]
	if option == "" {
		return DomainConfig{group: all}, nil
	}
	return DomainConfig{group: {option: all[option]}}, nil
}

// SecurityCompliance are the options of the passwords that everybody may read,
// so that a form can explain them; option "" gives all.
func (m *Manager) SecurityCompliance(domainID, option string) (DomainConfig, error) {
	s := &m.cfg.SecurityCompliance
	all := map[string]any{"password_regex": nullText(s.PasswordRegex), "password_regex_description": nullText(s.PasswordRegexDescription)}
	if option == "" {
		return DomainConfig{"security_compliance": all}, nil
	}
	v, ok := all[option]
	if !ok || domainID != m.cfg.Identity.DefaultDomainID {
		return nil, fault.Forbiddenf("Invalid domain specific configuration: Reading security compliance option %s is not supported.", option)
	}
	return DomainConfig{"security_compliance": {option: v}}, nil
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}
