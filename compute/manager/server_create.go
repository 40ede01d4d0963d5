package manager

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/task"
)

// NewServer is what a caller asks for.
type NewServer struct {
	Name           string
	Description    *string
	Hostname       string // empty: made from the name
	FlavorID       string
	ImageID        string
	KeyName        string
	UserData       string
	AdminPass      string
	Zone           string // "zone", "zone:host", "zone:host:node"
	WantHost       string
	WantNode       string
	Metadata       map[string]string
	Tags           []string
	Files          []compute.File
	Networks       []NetworkRequest
	NetworkMode    string // auto, none or empty
	SecurityGroups []string
	Min, Max       int
	ConfigDrive    bool
	DiskConfig     string
	AccessIPv4     string
	AccessIPv6     string
	Hints          map[string][]string
	TrustedCerts   []string
	// MayForceHost: policy lets the caller name the host in Zone.
	MayForceHost bool
}

// Created is the answer to NewServer.
type Created struct {
	Servers       []compute.Server
	ReservationID string
	AdminPass     string // never stored
}

// CreateServer checks what is asked for, writes it down with the sagas that
// will do it, and returns.
func (m *Manager) CreateServer(ctx context.Context, in NewServer) (*Created, error) {
	rec := &obs.Recorder{}
	ctx = obs.WithRecorder(ctx, rec)
	m.recordArrival(ctx)
	end := obs.Step(ctx, 6, "")
	proto, ports, group, err := m.prepare(ctx, &in)
	end(err)
	if err != nil {
		return nil, err
	}
	out := &Created{ReservationID: "r-" + randomHex(4), AdminPass: in.AdminPass}
	if out.AdminPass == "" && m.conf.AdminPassword {
		out.AdminPass = NewPassword()
	}
	end = obs.Step(ctx, 7, "")
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		out.Servers = nil
		n, err := m.fit(ctx, proto, group, in.Min, in.Max)
		if err != nil {
			return err
		}
		for i := range n {
			s := *proto
			name(ctx, &s, &in, i)
			s.ReservationID, s.LaunchIndex = out.ReservationID, i
			if err := m.insert(ctx, &s, &in, ports); err != nil {
				return err
			}
			out.Servers = append(out.Servers, s)
		}
		return nil
	})
	end(err)
	if err != nil {
		return nil, err
	}
	for i := range out.Servers {
		m.saveSteps(ctx, createActionID(out.Servers[i].ID), out.Servers[i].ID, rec)
		m.notify(ctx, compute.EventCreateStart, &out.Servers[i])
	}
	return out, nil
}

// recordArrival records the steps before this one, as far as this service
// knows of them.
func (m *Manager) recordArrival(ctx context.Context) {
	who := auth.From(ctx)
	if who == nil {
		return
	}
	issued := obs.Detail("the token was issued at " + who.IssuedAt.UTC().Format(time.RFC3339))
	note := obs.NoteInProcess
	if who.ValidatedFromCache {
		note = obs.NoteCached
	}
	obs.Step(ctx, 1, "", obs.Note(obs.NoteCached), issued)(nil)
	obs.Step(ctx, 2, "", obs.Note(obs.NoteCached), issued)(nil)
	obs.Step(ctx, 3, "", obs.Detail(obs.RequestID(ctx)))(nil)
	obs.Step(ctx, 4, "", obs.Note(note))(nil)
	obs.Step(ctx, 5, "", obs.Note(note), obs.Detail(strings.Join(who.RoleNames(), ", ")))(nil)
}

// prepare checks everything that can be checked before anything is written and
// returns what all servers of the request have in common.
func (m *Manager) prepare(ctx context.Context, in *NewServer) (*compute.Server, []compute.Port, *compute.Group, error) {
	who := auth.From(ctx)
	f, err := m.flavorFor(ctx, in.FlavorID)
	if err != nil {
		return nil, nil, nil, err
	}
	now := db.Now()
	s := &compute.Server{
		ProjectID: who.Project.ID, UserID: who.User.ID, Description: in.Description, VMState: compute.StateBuilding, TaskState: compute.TaskScheduling,
		FlavorID: f.ID, VCPUs: f.VCPUs, MemoryMB: f.MemoryMB, RootGB: f.RootGB, EphemeralGB: f.EphemeralGB,
		KeyName: in.KeyName, ConfigDrive: in.ConfigDrive || m.conf.ForceDrive, UserData: in.UserData, DiskConfig: in.DiskConfig,
		AccessIPv4: in.AccessIPv4, AccessIPv6: in.AccessIPv6, RootDevice: compute.DefaultRootDevice, CreatedAt: now, UpdatedAt: now,
		Spec: compute.ServerSpec{Flavor: *f, Files: in.Files, TrustedCerts: in.TrustedCerts, WantHost: in.WantHost, WantNode: in.WantNode},
	}
	if s.DiskConfig == "" {
		s.DiskConfig = compute.DiskConfigManual
	}
	if err := m.prepareImage(ctx, s, in.ImageID, f); err != nil {
		return nil, nil, nil, err
	}
	if in.KeyName != "" {
		k, err := m.store.KeyPair(ctx, who.User.ID, in.KeyName)
		if isMissing(err) {
			return nil, nil, nil, fault.Invalidf("Invalid key_name provided.")
		}
		if err != nil {
			return nil, nil, nil, err
		}
		s.Spec.PublicKey, s.Spec.KeyType = k.PublicKey, k.Type
	}
	if err := m.prepareZone(ctx, s, in); err != nil {
		return nil, nil, nil, err
	}
	group, err := m.prepareHints(ctx, s, in.Hints)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := m.checkItems(ctx, who, in); err != nil {
		return nil, nil, nil, err
	}
	if s.Spec.SecurityGroups, err = m.checkGroups(ctx, in.SecurityGroups); err != nil {
		return nil, nil, nil, err
	}
	ports, err := m.checkNetworks(ctx, in.Networks, in.NetworkMode, in.Max)
	return s, ports, group, err
}

func (m *Manager) prepareImage(ctx context.Context, s *compute.Server, id string, f *compute.Flavor) error {
	if id == "" {
		return fault.Invalidf("Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid. This cloud has no volume service: name an image.")
	}
	if f.Disabled {
		return fault.Missing("Flavor", f.ID)
	}
	img, err := m.bootImage(ctx, id, f)
	if err != nil {
		return err
	}
	s.ImageID, s.Spec.ImageProps, s.Spec.ImageMinDisk, s.Spec.ImageMinRAM = img.ID, img.Props, img.MinDisk, img.MinRAM
	s.Spec.KernelID, s.Spec.RamdiskID = img.Props["kernel_id"], img.Props["ramdisk_id"]
	if img.Props["img_config_drive"] == "mandatory" {
		s.ConfigDrive = true
	}
	return nil
}

// prepareZone reads "zone:host:node", of which only the zone is everybody's.
func (m *Manager) prepareZone(ctx context.Context, s *compute.Server, in *NewServer) error {
	zone, rest, forced := strings.Cut(in.Zone, ":")
	host, node, _ := strings.Cut(rest, ":")
	if forced && !in.MayForceHost {
		return fault.Forbiddenf("Policy doesn't allow os_compute_api:servers:create:forced_host to be performed.")
	}
	if strings.Count(in.Zone, ":") > 2 {
		return fault.Invalidf("Invalid availability_zone format: %s", in.Zone)
	}
	s.Spec.ForceHost, s.Spec.ForceNode = host, node
	if zone == "" {
		zone = m.conf.ScheduleZone
	}
	s.Zone, s.PinnedAZ = zone, zone
	if (host != "" || in.WantHost != "") && !m.knownHost(ctx, host+in.WantHost) {
		return fault.Invalidf("Compute host %s could not be found.", host+in.WantHost)
	}
	if in.WantNode != "" {
		if _, err := m.store.NodeByName(ctx, in.WantNode); err != nil {
			return fault.Invalidf("Compute host %s could not be found.", in.WantNode)
		}
	}
	if zone == "" || forced {
		return nil
	}
	zones, err := m.Zones(ctx)
	if err != nil {
		return err
	}
	for _, z := range zones {
		if z.Name == zone && !z.Internal {
			return nil
		}
	}
	return fault.Invalidf("The requested availability zone is not available")
}

func (m *Manager) knownHost(ctx context.Context, host string) bool {
	_, err := m.store.ServiceOn(ctx, host, compute.BinaryCompute)
	return err == nil
}

// prepareHints keeps the hints that callers may give (threat 21: those of the
// service's own begin with an underscore) and finds the server group.
func (m *Manager) prepareHints(ctx context.Context, s *compute.Server, hints map[string][]string) (*compute.Group, error) {
	s.Spec.Hints = map[string][]string{}
	for k, v := range hints {
		if !strings.HasPrefix(k, "_") {
			s.Spec.Hints[k] = v
		}
	}
	id := ""
	if g := hints["group"]; len(g) > 0 {
		id = g[0]
	}
	if id == "" {
		return nil, nil
	}
	g, err := m.store.Group(ctx, id)
	if isMissing(err) || err == nil && g.ProjectID != s.ProjectID && !auth.From(ctx).IsAdmin() {
		return nil, fault.Invalidf("Instance group %s could not be found.", id)
	}
	if err != nil {
		return nil, err
	}
	s.GroupID = g.ID
	return g, nil
}

// checkItems checks the quotas that count within one server.
func (m *Manager) checkItems(ctx context.Context, who *auth.Identity, in *NewServer) error {
	l, err := m.limits(ctx, who.Project.ID, who.User.ID)
	if err != nil {
		return err
	}
	if n := l[compute.QuotaMetadata]; n != compute.Unlimited && len(in.Metadata) > n {
		return fault.OverQuotaf("Quota exceeded, too many metadata items: at most %d are allowed.", n)
	}
	if n := l[compute.QuotaFiles]; n != compute.Unlimited && len(in.Files) > n {
		return fault.OverQuotaf("Personality file limit exceeded")
	}
	for _, f := range in.Files {
		if n := l[compute.QuotaFileBytes]; n != compute.Unlimited && len(f.Contents) > n {
			return fault.OverQuotaf("Personality file content limit exceeded")
		}
		if n := l[compute.QuotaFilePath]; n != compute.Unlimited && len(f.Path) > n {
			return fault.OverQuotaf("Personality file path too long")
		}
	}
	return nil
}

// fit returns how many servers between least and most the quotas allow, inside
// the transaction that inserts them.
func (m *Manager) fit(ctx context.Context, s *compute.Server, g *compute.Group, least, most int) (int, error) {
	if err := m.store.LockQuota(ctx, s.ProjectID); err != nil {
		return 0, err
	}
	l, err := m.limits(ctx, s.ProjectID, s.UserID)
	if err != nil {
		return 0, err
	}
	if g != nil {
		g, err = m.store.Group(ctx, g.ID)
		if err != nil {
			return 0, err
		}
		if limit := l[compute.QuotaGroupMembers]; limit != compute.Unlimited && len(g.Members)+least > limit {
			return 0, fault.OverQuotaf("Quota exceeded, too many servers in group")
		}
	}
	for n := most; ; n-- {
		want := compute.Usage{compute.QuotaInstances: n, compute.QuotaCores: n * s.VCPUs, compute.QuotaRAM: n * s.MemoryMB}
		err := m.within(ctx, s.ProjectID, s.UserID, want)
		if err == nil || n <= least || !fault.Is(err, fault.OverQuota) {
			return n, err
		}
	}
}

// name gives the i-th server of a request its id, name and host name.
func name(ctx context.Context, s *compute.Server, in *NewServer, i int) {
	s.ID, s.Name, s.Hostname = db.NewID(ctx), in.Name, in.Hostname
	if in.Max > 1 {
		s.Name = fmt.Sprintf("%s-%d", in.Name, i+1)
		if s.Hostname != "" {
			s.Hostname = fmt.Sprintf("%s-%d", s.Hostname, i+1)
		}
	}
	if s.Hostname == "" {
		s.Hostname = Hostname(s.Name, s.ID)
	}
}

// Hostname makes a host name of a server's name: letters, digits, dots and
// hyphens, at most 63.
func Hostname(name, id string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.':
			b.WriteRune(r)
		case r >= 'A' && r <= 'Z':
			b.WriteRune(r - 'A' + 'a')
		case r == ' ', r == '_':
			b.WriteRune('-')
		}
	}
	h := b.String()
	h = strings.Trim(h[:min(63, len(h))], ".-")
	if h == "" {
		return "Server-" + id
	}
	return h
}

// insert writes one server with its ports, action and saga.
func (m *Manager) insert(ctx context.Context, s *compute.Server, in *NewServer, ports []compute.Port) error {
	if err := m.store.InsertServer(ctx, s); err != nil {
		return err
	}
	for _, p := range ports {
		p.ID, p.ServerID = newID(), s.ID
		if err := m.store.InsertPort(ctx, &p); err != nil {
			return err
		}
	}
	if len(in.Metadata) > 0 {
		if _, err := m.store.SetMetadata(ctx, s.ID, in.Metadata, false, compute.Unlimited); err != nil {
			return err
		}
	}
	if len(in.Tags) > 0 {
		if err := m.store.SetTags(ctx, s.ID, slices.Compact(slices.Sorted(slices.Values(in.Tags)))); err != nil {
			return err
		}
	}
	id, err := m.startAction(ctx, s.ID, "create", createActionID(s.ID))
	if err != nil {
		return err
	}
	return task.Start(ctx, m.tasks, sagaBuild, s.ID, buildState{ServerID: s.ID, ActionID: id})
}

// createActionID is the id of a server's first action: it must be known to the
// request that records its steps after the transaction.
func createActionID(serverID string) string { return "c" + strings.ReplaceAll(serverID, "-", "") }

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// NewPassword makes a password as Nova does: 12 letters and digits that are
// not mistaken for each other, of each kind at least one.
func NewPassword() string {
	kinds := []string{"23456789", "ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnopqrstuvwxyz"}
	out := make([]byte, 12)
	for i := range out {
		set := kinds[i%len(kinds)]
		out[i] = set[randomInt(len(set))]
	}
	for i := range out {
		j := randomInt(len(out))
		out[i], out[j] = out[j], out[i]
	}
	return string(out)
}

func randomInt(n int) int {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return int(uint32(b[0])|uint32(b[1])<<8|uint32(b[2])<<16) % n
}
