package manager

import (
	"context"
	"fmt"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/scheduler"
	"github.com/tropocloud/tropo/compute/store"
	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// buildSchedule finds the hosts that can take the server.
func (m *Manager) buildSchedule(ctx context.Context, st *buildState) error {
	s, err := m.building(ctx, st)
	if err != nil {
		return err
	}
	if err := m.event(ctx, st.ActionID, "conductor_build_instance", m.host); err != nil {
		return err
	}
	return m.recorded(ctx, st.ActionID, s.ID, func(ctx context.Context) error {
		obs.Step(ctx, 8, "", obs.Note(obs.NoteInProcess))(nil)
		obs.Step(ctx, 9, "", obs.Note(obs.NoteInProcess))(nil)
		sctx, end := obs.StepContext(ctx, 10, "")
		err := m.schedule(sctx, s, st)
		end(err)
		return err
	})
}

// buildClaim takes the resources of a host.
func (m *Manager) buildClaim(ctx context.Context, st *buildState) error {
	s, err := m.building(ctx, st)
	if err != nil {
		return err
	}
	return m.recorded(ctx, st.ActionID, s.ID, func(ctx context.Context) error { return m.claimHost(ctx, s, st, nil) })
}

// claimHost takes the resources of the first host that still has them, asks for
// fresh candidates when none has, calls before (if not nil), and writes the host
// down.
func (m *Manager) claimHost(ctx context.Context, s *compute.Server, st *buildState, before func(*chosen) error) error {
	for try := 0; ; try++ {
		host, err := m.claimOne(ctx, s, st)
		if err != nil {
			return err
		}
		if before != nil {
			if err := before(host); err != nil {
				return err
			}
		}
		end := obs.Step(ctx, 11, "", obs.Detail(host.Host))
		why, err := m.settle(ctx, s, host)
		end(err)
		if err != nil || why == "" {
			return err
		}
		if try >= maxChosen {
			return noHost(s)
		}
		if err := m.elsewhere(ctx, s, st, host.Host, why); err != nil {
			return err
		}
	}
}

// settle writes down the server's host, unless that breaks the policy of its
// group, which servers that are placed at the same time may do to each other:
// then it says why not. Members of a group settle one after the other.
func (m *Manager) settle(ctx context.Context, s *compute.Server, host *chosen) (why string, err error) {
	err = m.store.Tx(ctx, func(ctx context.Context) error {
		if why, err = m.breaksGroup(ctx, s, host.Host); err != nil || why != "" {
			return err
		}
		ok, err := m.store.ChangeServer(ctx, s.ID, store.Expect{VM: []compute.VMState{compute.StateBuilding}},
			db.Set{"host": host.Host, "node": host.Node, "zone": host.Zone})
		if err == nil && !ok {
			err = fault.Conflictf("The server is no longer being built.")
		}
		return err
	})
	return why, err
}

func (m *Manager) breaksGroup(ctx context.Context, s *compute.Server, host string) (string, error) {
	if s.GroupID == "" {
		return "", nil
	}
	if err := m.store.LockGroup(ctx, s.GroupID); err != nil {
		return "", err
	}
	g, err := m.store.Group(ctx, s.GroupID)
	if err != nil {
		if isMissing(err) {
			err = nil
		}
		return "", err
	}
	members, err := m.store.ServersByID(ctx, g.Members)
	if err != nil {
		return "", err
	}
	here := 0
	for i := range members {
		switch v := &members[i]; {
		case v.ID == s.ID || v.Host == "":
		case v.Host == host:
			here++
		case g.Policy == compute.Affinity:
			return "another member of the server group is elsewhere", nil
		}
	}
	if g.Policy == compute.AntiAffinity && here >= max(1, g.MaxPerHost) {
		return "another member of the server group is here", nil
	}
	return "", nil
}

// elsewhere gives a host up and looks for others.
func (m *Manager) elsewhere(ctx context.Context, s *compute.Server, st *buildState, host, why string) error {
	if err := m.undoClaim(ctx, st); err != nil {
		return err
	}
	if st.Ignore == nil {
		st.Ignore = map[string]string{}
	}
	st.Ignore[host] = why
	return m.schedule(ctx, s, st)
}

func (m *Manager) claimOne(ctx context.Context, s *compute.Server, st *buildState) (c *chosen, err error) {
	end := obs.Step(ctx, 0, stepClaim, obs.Part("placement"))
	defer func() { end(err) }()
	st.Claimed = false
	have, err := m.allocation(ctx, s.ID)
	if err != nil {
		return nil, err
	}
	for {
		for i := range st.Hosts {
			if _, ok := have.Allocations[st.Hosts[i].Claim.Provider]; ok {
				st.Claimed = true
				return &st.Hosts[i], nil // claimed before the process died
			}
		}
		for i := range st.Hosts {
			err := m.claim(ctx, s.ID, s.ProjectID, s.UserID, st.Hosts[i].Claim, st.claimKey(i))
			if err == nil {
				st.Claimed = true
				return &st.Hosts[i], nil
			}
			if !fault.Is(err, fault.Conflict) {
				return nil, err
			}
		}
		if st.Attempt++; st.Attempt >= max(1, m.conf.Scheduler.Attempts) {
			return nil, noHost(s)
		}
		if err := m.schedule(ctx, s, st); err != nil {
			return nil, err
		}
	}
}

// claimKey names the claim of a chosen host.
func (st *buildState) claimKey(i int) string {
	return fmt.Sprintf("%s claim %d %s", st.ActionID, st.Attempt, st.Hosts[i].Claim.Provider)
}

// knowClaim finds out what a build has claimed before that is given up, as
// knowPorts does for its ports: a request without an answer may still be under
// way.
func (m *Manager) knowClaim(ctx context.Context, s *compute.Server, st *buildState) error {
	for i := range st.Hosts {
		err := m.claim(ctx, s.ID, s.ProjectID, s.UserID, st.Hosts[i].Claim, st.claimKey(i))
		if err == nil || fault.Is(err, fault.Unavailable) {
			return err
		}
	}
	return nil
}

func noHost(*compute.Server) error {
	return fault.New(fault.Internal, "No valid host was found. There are not enough hosts available.").WithType("NoValidHost")
}

func (m *Manager) undoClaim(ctx context.Context, st *buildState) error {
	s, err := m.store.Server(ctx, st.ServerID)
	if isMissing(err) {
		return m.release(ctx, st.ServerID)
	}
	if err != nil {
		return err
	}
	if _, err := m.store.ChangeServer(ctx, st.ServerID, store.Expect{}, db.Set{"host": "", "node": ""}); err != nil {
		return err
	}
	if !st.Claimed {
		if err := m.knowClaim(ctx, s, st); err != nil {
			return err
		}
	}
	return m.giveUp(ctx, s)
}

// schedule fills in the hosts that can take a server, the best first.
func (m *Manager) schedule(ctx context.Context, s *compute.Server, st *buildState) error {
	f := sized(s, s.Spec.Flavor)
	found, refused, err := m.selectHosts(ctx, s, &f, s.Spec.ImageProps, st.Ignore)
	if err != nil {
		return err
	}
	st.Hosts, st.Details = found, scheduler.Explain(refused)
	if len(found) == 0 {
		if st.Details == "" {
			st.Details = "Placement knows no host with enough free resources."
		}
		return noHost(s)
	}
	return nil
}
