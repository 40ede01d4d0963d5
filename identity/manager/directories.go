package manager

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/identity"
	"github.com/tropocloud/tropo/identity/directory"
)

// directories are the domains whose users stand in a directory, as of a
// generation.
type directories struct {
	generation int64
	by         map[string]*domainDirectory
}

// domainDirectory is one of them; dir is nil where its options are wrong.
type domainDirectory struct {
	domainID string
	options  string // as text, to know whether they changed
	dir      *directory.Directory
}

// driverLDAP is the [identity] driver of a domain with a directory.
const driverLDAP = "ldap"

// directories reads which domains have a directory; from memory while nothing
// has changed.
func (m *Manager) directories(ctx context.Context) (*directories, error) {
	if !m.cfg.Identity.DomainSpecificDrivers {
		return &directories{}, nil
	}
	gen, err := m.store.Generation(ctx)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	d := m.dirs
	m.mu.Unlock()
	if d != nil && d.generation == gen {
		return d, nil
	}
	options, err := m.driverOptions(ctx)
	if err != nil {
		return nil, err
	}
	next := &directories{generation: gen, by: map[string]*domainDirectory{}}
	for id, groups := range options {
		if groups["identity"]["driver"] != driverLDAP {
			continue
		}
		if next.by[id], err = m.openDirectory(ctx, d, id, groups["ldap"]); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dirs = next
	return next, nil
}

// openDirectory keeps the connections of a domain whose options are as before.
func (m *Manager) openDirectory(ctx context.Context, old *directories, domainID string, options map[string]any) (*domainDirectory, error) {
	b, err := json.Marshal(options)
	if err != nil {
		return nil, err
	}
	if old != nil && old.by[domainID] != nil {
		if old.by[domainID].options == string(b) {
			return old.by[domainID], nil
		}
		if dir := old.by[domainID].dir; dir != nil {
			dir.Close()
		}
	}
	out := &domainDirectory{domainID: domainID, options: string(b)}
	c, err := directory.Parse(options)
	if err != nil { // the domain's users cannot log in; everybody else can
		m.log.LogAttrs(ctx, slog.LevelError, "the directory of a domain is configured wrongly", slog.String("domain", domainID), slog.String("error", err.Error()))
		return out, nil
	}
	out.dir = directory.New(c)
	return out, nil
}

// driverOptions are the options by domain and group, those of files first.
func (m *Manager) driverOptions(ctx context.Context) (map[string]DomainConfig, error) {
	out, err := m.domainFiles(ctx)
	if err != nil || !m.cfg.Identity.DomainConfigsFromDB {
		return out, err
	}
	list, err := m.store.DriverOptions(ctx)
	if err != nil {
		return nil, err
	}
	stored := map[string]bool{}
	for _, o := range list {
		if !stored[o.DomainID] {
			stored[o.DomainID], out[o.DomainID] = true, DomainConfig{}
		}
		if out[o.DomainID][o.Group] == nil {
			out[o.DomainID][o.Group] = map[string]any{}
		}
		out[o.DomainID][o.Group][o.Option] = o.Value.V
	}
	return out, nil
}

// domainFiles reads the files keystone.DOMAIN.conf of [identity]
// domain_config_dir; a file of a domain that does not exist is passed over.
func (m *Manager) domainFiles(ctx context.Context) (map[string]DomainConfig, error) {
	out := map[string]DomainConfig{}
	dir := m.cfg.Identity.DomainConfigDir
	if dir == "" {
		return out, nil
	}
	files, err := filepath.Glob(filepath.Join(dir, "keystone.*.conf"))
	if err != nil {
		return nil, fmt.Errorf("domain_config_dir: %w", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "keystone."), ".conf")
		d, err := gone(m.store.Projects.One(ctx, identity.By("name", name).And("is_domain", true)))
		if err != nil {
			return nil, err
		}
		if d == nil {
			continue
		}
		if out[d.ID], err = readDomainFile(f); err != nil { // that domain's trouble alone
			m.log.LogAttrs(ctx, slog.LevelError, "the configuration of a domain cannot be read", slog.String("domain", d.ID), slog.String("error", err.Error()))
			out[d.ID] = DomainConfig{"identity": {"driver": driverLDAP}, "ldap": {"url": ""}}
		}
	}
	return out, nil
}

func readDomainFile(name string) (DomainConfig, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("domain configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	out, group := DomainConfig{}, ""
	s := bufio.NewScanner(f)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			group = line[1 : len(line)-1]
			out[group] = map[string]any{}
		default:
			k, v, ok := strings.Cut(line, "=")
			if !ok || group == "" {
				return nil, fmt.Errorf("domain configuration %s: a line is neither a group nor an option", name)
			}
			out[group][strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return out, s.Err()
}

// directoryOf is the directory of a domain, nil where its users are our own.
func (m *Manager) directoryOf(ctx context.Context, domainID string) (*domainDirectory, error) {
	all, err := m.directories(ctx)
	if err != nil || all.by[domainID] == nil {
		return nil, err
	}
	d := all.by[domainID]
	if d.dir == nil {
		return nil, fault.Unavailablef("The identity backend of domain %s is not configured correctly.", domainID)
	}
	return d, nil
}

// mapped returns the directory and the entry that a public id stands for;
// nil where it is no such id. The id of a domain that has no directory any
// more is fault.NotFound.
func (m *Manager) mapped(ctx context.Context, kind, id string) (*domainDirectory, string, error) {
	if !identity.MaybePublicID(id) {
		return nil, "", nil
	}
	v, err := gone(m.store.IDMapping(ctx, id))
	if err != nil || v == nil {
		return nil, "", err
	}
	d, err := m.directoryOf(ctx, v.DomainID)
	if err != nil {
		return nil, "", err
	}
	if d == nil || v.EntityType != kind {
		return nil, "", fault.New(fault.NotFound, "Could not find %s: %s.", kind, id)
	}
	return d, v.LocalID, nil
}

// explain turns a directory's error into a fault: one domain's directory that
// does not answer is that domain's trouble alone.
func (d *domainDirectory) explain(err error, noun, id string) error {
	switch {
	case errors.Is(err, directory.ErrNotFound):
		return fault.New(fault.NotFound, "Could not find %s: %s.", noun, id)
	case errors.Is(err, directory.ErrDown):
		return fault.Wrap(fault.Unavailable, err, "The identity backend of domain %s does not answer; try again later.", d.domainID)
	}
	return err
}

// readOnly refuses a change in a domain with a directory.
func (m *Manager) readOnly(ctx context.Context, domainID string) error {
	all, err := m.directories(ctx)
	if err == nil && all.by[domainID] != nil {
		return fault.Forbiddenf("LDAP does not support write operations")
	}
	return err
}
