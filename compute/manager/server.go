package manager

import (
	"context"
	"regexp"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
)

// Details is what a view of a server needs beside its row.
type Details struct {
	Metadata map[string]string
	Tags     []string
	Ports    []compute.Port
	// HostStatus is UP, DOWN, UNKNOWN, MAINTENANCE or empty without a host.
	HostStatus string
	Zone       string
}

// Server returns a server that the caller may see: one of the own project, or
// any for administrators.
func (m *Manager) Server(ctx context.Context, id string) (*compute.Server, error) {
	s, err := m.store.Server(ctx, id)
	if err != nil {
		return nil, err
	}
	if who := auth.From(ctx); who != nil && !who.IsAdmin() && who.Project.ID != s.ProjectID {
		return nil, fault.Missing("Instance", id)
	}
	return s, nil
}

// AnyServer is Server for what was deleted, too.
func (m *Manager) AnyServer(ctx context.Context, id string) (*compute.Server, error) {
	s, err := m.store.AnyServer(ctx, id)
	if err != nil {
		return nil, err
	}
	if who := auth.From(ctx); !who.IsAdmin() && who.Project.ID != s.ProjectID {
		return nil, fault.Missing("Instance", id)
	}
	return s, nil
}

// ServerByID returns a server for the service itself.
func (m *Manager) ServerByID(ctx context.Context, id string) (*compute.Server, error) {
	return m.store.Server(ctx, id)
}

// Servers lists servers. The name filter is a regular expression.
func (m *Manager) Servers(ctx context.Context, f store.ServerFilter) ([]compute.Server, error) {
	if f.NameRegex == "" {
		return m.store.Servers(ctx, f)
	}
	re, err := regexp.Compile(f.NameRegex)
	if err != nil {
		return nil, fault.Invalidf("Invalid filter expression for name: %s", f.NameRegex)
	}
	if !m.store.NeedsRegex(f.NameRegex) {
		return m.store.Servers(ctx, f)
	}
	// SQLite has no expressions: pages are read until enough rows match.
	limit := f.Page.Limit
	var out []compute.Server
	f.Page.Limit = max(200, limit)
	for {
		list, err := m.store.Servers(ctx, f)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if re.MatchString(list[i].Name) {
				out = append(out, list[i])
			}
			if limit > 0 && len(out) == limit {
				return out, nil
			}
		}
		if len(list) < f.Page.Limit {
			return out, nil
		}
		f.Page.Marker = list[len(list)-1].ID
	}
}

// Details returns what hangs on servers, with one query for each kind.
func (m *Manager) Details(ctx context.Context, list []compute.Server) (map[string]Details, error) {
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	out := make(map[string]Details, len(list))
	if len(ids) == 0 {
		return out, nil
	}
	meta, err := m.store.Metadata(ctx, ids)
	if err != nil {
		return nil, err
	}
	tags, err := m.store.Tags(ctx, ids)
	if err != nil {
		return nil, err
	}
	ports, err := m.store.Ports(ctx, ids)
	if err != nil {
		return nil, err
	}
	services, err := m.store.Services(ctx)
	if err != nil {
		return nil, err
	}
	aggregates, err := m.store.Aggregates(ctx)
	if err != nil {
		return nil, err
	}
	status := map[string]string{}
	for i := range services {
		if s := &services[i]; s.Binary == compute.BinaryCompute {
			status[s.Host] = m.hostStatus(s)
		}
	}
	for i := range list {
		s := &list[i]
		d := Details{Metadata: meta[s.ID], Tags: tags[s.ID], Ports: ports[s.ID], Zone: s.Zone}
		if s.Host != "" {
			d.Zone = m.zoneOf(aggregates, s.Host)
			if d.HostStatus = status[s.Host]; d.HostStatus == "" {
				d.HostStatus = "UNKNOWN"
			}
		}
		out[s.ID] = d
	}
	return out, nil
}

func (m *Manager) hostStatus(s *compute.Service) string {
	switch {
	case s.ForcedDown:
		return "DOWN"
	case s.Disabled:
		return "MAINTENANCE"
	case !m.Up(s):
		return "UNKNOWN"
	}
	return "UP"
}

// Change is what PUT may change of a server; nil leaves things as they are.
type Change struct {
	Name, Hostname, AccessIPv4, AccessIPv6, DiskConfig *string
	Description                                        **string
}

// UpdateServer changes what a server is called.
func (m *Manager) UpdateServer(ctx context.Context, s *compute.Server, in Change) (*compute.Server, error) {
	set := db.Set{}
	for col, v := range map[string]*string{
		"name": in.Name, "hostname": in.Hostname, "access_ipv4": in.AccessIPv4, "access_ipv6": in.AccessIPv6, "disk_config": in.DiskConfig,
	} {
		if v != nil {
			set[col] = *v
		}
	}
	if in.Description != nil {
		set["description"] = *in.Description
	}
	ok, err := m.store.ChangeServer(ctx, s.ID, store.Expect{}, set)
	if err == nil && !ok {
		return nil, fault.Missing("Instance", s.ID)
	}
	if err != nil {
		return nil, err
	}
	return m.store.Server(ctx, s.ID)
}

// LockServer keeps the owner from acting on a server.
func (m *Manager) LockServer(ctx context.Context, s *compute.Server, reason string) error {
	by := compute.LockedByOwner
	if who := auth.From(ctx); who.IsAdmin() && who.Project.ID != s.ProjectID {
		by = compute.LockedByAdmin
	}
	if s.LockedBy == compute.LockedByAdmin {
		by = compute.LockedByAdmin
	}
	return m.record(ctx, s, "lock", store.Expect{}, db.Set{"locked_by": by, "locked_reason": reason})
}

// UnlockServer takes the lock away. override: policy lets the caller take away
// an administrator's.
func (m *Manager) UnlockServer(ctx context.Context, s *compute.Server, override bool) error {
	if s.LockedBy == compute.LockedByAdmin && !override {
		return fault.Forbiddenf("Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")
	}
	return m.record(ctx, s, "unlock", store.Expect{}, db.Set{"locked_by": "", "locked_reason": ""})
}

// record changes a server and remembers that it was asked for.
func (m *Manager) record(ctx context.Context, s *compute.Server, action string, e store.Expect, set db.Set) error {
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if err := m.change(ctx, s, action, e, set); err != nil {
			return err
		}
		_, err := m.startAction(ctx, s.ID, action, "")
		return err
	})
}

// ResetState forces a server's state. Work under way is ended first, so that it
// does not change it again.
func (m *Manager) ResetState(ctx context.Context, s *compute.Server, state compute.VMState) error {
	set := db.Set{"vm_state": state, "task_state": ""}
	if state == compute.StateActive {
		set["fault"] = (*compute.Fault)(nil)
	}
	return m.store.Tx(ctx, func(ctx context.Context) error {
		if s.TaskState == compute.TaskDeleting {
			return nil // a deletion goes on
		}
		if err := m.tasks.Cancel(ctx, s.ID, sagaPower, sagaSnapshot); err != nil {
			return err
		}
		return m.record(ctx, s, "resetState", store.Expect{}, set)
	})
}

// ConsoleOutput returns the last lines of a server's serial console.
func (m *Manager) ConsoleOutput(ctx context.Context, s *compute.Server, lines int) ([]byte, error) {
	if s.Host == "" || s.VMState == compute.StateBuilding && s.TaskState != compute.TaskSpawning {
		return nil, notReady(s.ID)
	}
	var out compute.ConsoleOutput
	err := m.ask(ctx, s.Host, compute.MethodConsole, compute.ConsoleRequest{ServerID: s.ID, Lines: lines}, &out)
	if isMissing(err) {
		return nil, notReady(s.ID)
	}
	return out.Data, err
}

// Diagnostics returns a running server's counters.
func (m *Manager) Diagnostics(ctx context.Context, s *compute.Server) (*compute.Diagnostics, error) {
	e := store.Expect{VM: []compute.VMState{compute.StateActive, compute.StatePaused}}
	if !fits(s, e) || s.Host == "" {
		return nil, refusal(s, "get_diagnostics", e)
	}
	var out compute.Diagnostics
	err := m.ask(ctx, s.Host, compute.MethodDiagnostics, compute.GuestRequest{ServerID: s.ID}, &out)
	if isMissing(err) {
		return nil, notReady(s.ID)
	}
	return &out, err
}

// Metadata returns a server's metadata.
func (m *Manager) Metadata(ctx context.Context, s *compute.Server) (map[string]string, error) {
	all, err := m.store.Metadata(ctx, []string{s.ID})
	if err != nil || all[s.ID] == nil {
		return map[string]string{}, err
	}
	return all[s.ID], nil
}

// SetMetadata merges items into a server's metadata, or replaces it.
func (m *Manager) SetMetadata(ctx context.Context, s *compute.Server, items map[string]string, replace bool) (map[string]string, error) {
	if err := m.metadataState(ctx, s, "update_instance_metadata"); err != nil {
		return nil, err
	}
	l, err := m.limits(ctx, s.ProjectID, s.UserID)
	if err != nil {
		return nil, err
	}
	return m.store.SetMetadata(ctx, s.ID, items, replace, l[compute.QuotaMetadata])
}

func (m *Manager) metadataState(ctx context.Context, s *compute.Server, action string) error {
	if err := unlocked(ctx, s); err != nil {
		return err
	}
	e := store.Idle(compute.StateActive, compute.StatePaused, compute.StateSuspended, compute.StateStopped)
	if !fits(s, e) {
		return refusal(s, action, e)
	}
	return nil
}

// DeleteMetadata removes one item.
func (m *Manager) DeleteMetadata(ctx context.Context, s *compute.Server, name string) error {
	if err := m.metadataState(ctx, s, "delete_instance_metadata"); err != nil {
		return err
	}
	return m.store.DeleteMetadata(ctx, s.ID, name)
}

// Tags returns a server's tags.
func (m *Manager) Tags(ctx context.Context, s *compute.Server) ([]string, error) {
	all, err := m.store.Tags(ctx, []string{s.ID})
	if err != nil || all[s.ID] == nil {
		return []string{}, err
	}
	return all[s.ID], nil
}

// SetTags replaces a server's tags.
func (m *Manager) SetTags(ctx context.Context, s *compute.Server, tags []string) error {
	return m.store.SetTags(ctx, s.ID, tags)
}

// AddTag adds a tag and reports whether it is new.
func (m *Manager) AddTag(ctx context.Context, s *compute.Server, tag string) (bool, error) {
	return m.store.AddTag(ctx, s.ID, tag)
}

// DeleteTag removes a tag.
func (m *Manager) DeleteTag(ctx context.Context, s *compute.Server, tag string) error {
	return m.store.DeleteTag(ctx, s.ID, tag)
}
