package manager

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/network"
	"github.com/tropocloud/tropo/network/store"
)

// CreateNetwork makes a network on a free segment.
func (m *Manager) CreateNetwork(ctx context.Context, c network.Change) (*network.Network, error) {
	var out *network.Network
	err := m.tx(ctx, func(ctx context.Context) error {
		n := &network.Network{Status: network.StatusActive}
		if err := c.Into(n); err != nil {
			return err
		}
		if err := m.reserve(ctx, n.Kind(), n.ProjectID, 1); err != nil {
			return err
		}
		if err := m.chooseSegment(ctx, n, c); err != nil {
			return err
		}
		if err := m.chooseMTU(n, c.Has("mtu")); err != nil {
			return err
		}
		if err := m.checkDefault(ctx, n); err != nil {
			return err
		}
		if err := m.checkZones(n.AZHints); err != nil {
			return err
		}
		if err := store.Insert(ctx, m.store, n); err != nil {
			if db.IsUnique(err) {
				return fmt.Errorf("%w: segment %s", errAgain, n.SegmentKey)
			}
			return err
		}
		if err := m.setSharing(ctx, n, false, false); err != nil {
			return err
		}
		if err := m.mark(ctx, network.DirtyNetwork, n.ID); err != nil {
			return err
		}
		var err error
		out, err = store.Find[network.Network](ctx, m.store, scope(ctx), n.ID)
		return err
	})
	return out, err
}

// chooseSegment checks the provider attributes and fills in what is left out.
func (m *Manager) chooseSegment(ctx context.Context, n *network.Network, c network.Change) error {
	if n.NetworkType == "" {
		if n.PhysicalNetwork != nil || n.SegmentationID != nil {
			return invalid("network_type required.")
		}
		if err := m.defaultType(ctx, n); err != nil {
			return err
		}
	}
	if !slices.Contains(m.plane.NetworkTypes, n.NetworkType) {
		return invalid("network_type value '%s' not supported.", n.NetworkType)
	}
	if n.NetworkType == network.TypeGeneve {
		return m.chooseTunnel(ctx, n)
	}
	if n.PhysicalNetwork == nil {
		return invalid("physical_network required for %s provider network.", n.NetworkType)
	}
	physical, err := m.physicalNetworks(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(physical, *n.PhysicalNetwork) {
		return invalid("physical_network '%s' unknown for %s provider network.", *n.PhysicalNetwork, n.NetworkType)
	}
	if n.NetworkType == network.TypeFlat {
		return m.chooseFlat(ctx, n)
	}
	return m.chooseVLAN(ctx, n)
}

// defaultType is a tunnel for tenants' networks, and for external ones the
// flat network that leads out of the cloud, while that is free.
func (m *Manager) defaultType(ctx context.Context, n *network.Network) error {
	if n.External {
		phys := m.conf.ExternalPhysical
		physical, err := m.physicalNetworks(ctx)
		if err != nil {
			return err
		}
		if slices.Contains(physical, phys) {
			free, err := m.segmentFree(ctx, network.TypeFlat+"/"+phys)
			if err != nil {
				return err
			}
			if free {
				n.NetworkType, n.PhysicalNetwork = network.TypeFlat, &phys
				return nil
			}
		}
		if !m.conf.ExternalTunnels {
			return conflict("NoNetworkAvailable", "An external network needs a physical network, and '%s' is in use or not there. Give provider attributes for another one (types here: %s; physical networks: %s).",
				phys, strings.Join(m.plane.NetworkTypes, ", "), strings.Join(physical, ", "))
		}
	}
	n.NetworkType = network.TypeGeneve
	return nil
}

// physicalNetworks are those that the dataplane here has, or where that is on
// other machines, those that any of these has.
func (m *Manager) physicalNetworks(ctx context.Context) ([]string, error) {
	if len(m.plane.PhysicalNetworks) > 0 {
		return m.plane.PhysicalNetworks, nil
	}
	agents, err := store.Select[network.Agent](ctx, m.store, db.Where().In("agent_type", []string{network.AgentController, network.AgentGateway}))
	if err != nil {
		return nil, err
	}
	var out []string
	for i := range agents {
		list, _ := agents[i].Config["bridge-mappings"].([]any)
		for _, name := range list {
			if s, ok := name.(string); ok && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

func (m *Manager) segmentFree(ctx context.Context, key string) (bool, error) {
	list, err := store.Select[network.Network](ctx, m.store, db.Where().Eq("segment_key", key))
	return len(list) == 0, err
}

// maxVNI bounds the ids that are chosen for tunnels; given ones may have all
// of Geneve's 24 bits.
const maxVNI = 1 << 16

func (m *Manager) chooseTunnel(ctx context.Context, n *network.Network) error {
	if n.PhysicalNetwork != nil {
		return invalid("provider:physical_network specified for %s network", n.NetworkType)
	}
	if id := n.SegmentationID; id != nil {
		if *id < 1 || *id >= 1<<24 {
			return invalid("segmentation_id out of range (1 through %d).", 1<<24-1)
		}
		n.SegmentKey = "geneve/" + strconv.Itoa(*id)
		free, err := m.segmentFree(ctx, n.SegmentKey)
		if err == nil && !free {
			return conflict("TunnelIdInUse", "Unable to create the network. The tunnel ID %d is in use.", *id)
		}
		return err
	}
	for range 64 {
		id := 1 + rand.IntN(maxVNI)
		n.SegmentKey, n.SegmentationID = "geneve/"+strconv.Itoa(id), &id
		free, err := m.segmentFree(ctx, n.SegmentKey)
		if err != nil || free {
			return err
		}
	}
	return fault.Unavailablef("Unable to create the network. No tenant network is available for allocation.").WithType("NoNetworkAvailable")
}

func (m *Manager) chooseFlat(ctx context.Context, n *network.Network) error {
	if n.SegmentationID != nil {
		return invalid("segmentation_id prohibited for flat provider network.")
	}
	if !slices.Contains(m.conf.FlatNetworks, "*") && !slices.Contains(m.conf.FlatNetworks, *n.PhysicalNetwork) {
		return invalid("physical_network '%s' unknown for flat provider network.", *n.PhysicalNetwork)
	}
	n.SegmentKey = network.TypeFlat + "/" + *n.PhysicalNetwork
	free, err := m.segmentFree(ctx, n.SegmentKey)
	if err == nil && !free {
		return conflict("FlatNetworkInUse", "Unable to create the flat network. Physical network %s is in use.", *n.PhysicalNetwork)
	}
	return err
}

func (m *Manager) chooseVLAN(ctx context.Context, n *network.Network) error {
	key := func(id int) string { return "vlan/" + *n.PhysicalNetwork + "/" + strconv.Itoa(id) }
	if id := n.SegmentationID; id != nil {
		if *id < 1 || *id > 4094 {
			return invalid("segmentation_id out of range (1 through 4094).")
		}
		n.SegmentKey = key(*id)
		free, err := m.segmentFree(ctx, n.SegmentKey)
		if err == nil && !free {
			return conflict("VlanIdInUse", "Unable to create the network. The VLAN %d on physical network %s is in use.", *id, *n.PhysicalNetwork)
		}
		return err
	}
	for _, r := range m.conf.VLANRanges {
		var phys string
		var first, last int
		parts := strings.Split(r, ":")
		if len(parts) != 3 {
			continue
		}
		phys = parts[0]
		first, _ = strconv.Atoi(parts[1])
		last, _ = strconv.Atoi(parts[2])
		for id := first; phys == *n.PhysicalNetwork && id <= last; id++ {
			free, err := m.segmentFree(ctx, key(id))
			if err != nil {
				return err
			}
			if free {
				n.SegmentKey, n.SegmentationID = key(id), &id
				return nil
			}
		}
	}
	return conflict("NoNetworkAvailable", "Unable to create the network. No VLAN of physical network %s is left for allocation.", *n.PhysicalNetwork)
}

// maxMTU is what the wire below a network carries.
func (m *Manager) maxMTU(typ string) int {
	if typ == network.TypeGeneve {
		if m.plane.TunnelMTU > 0 {
			return m.plane.TunnelMTU
		}
		return m.conf.GlobalMTU - 58
	}
	if m.plane.PhysicalMTU > 0 {
		return m.plane.PhysicalMTU
	}
	return m.conf.GlobalMTU
}

func (m *Manager) chooseMTU(n *network.Network, given bool) error {
	most := m.maxMTU(n.NetworkType)
	if !given || n.MTU == 0 {
		n.MTU = most
		return nil
	}
	if n.MTU > most {
		return invalid("Requested MTU is too big, maximum is %d", most)
	}
	return nil
}

// checkDefault allows one default external network.
func (m *Manager) checkDefault(ctx context.Context, n *network.Network) error {
	if !n.IsDefault {
		return nil
	}
	if !n.External {
		return bad("InvalidInput", "Only an external network can be the default external network.")
	}
	list, err := store.Select[network.Network](ctx, m.store, db.Where().Eq("is_default", true).Ne("id", n.ID))
	if err == nil && len(list) > 0 {
		return conflict("DefaultExternalNetworkExists", "A default external network already exists: %s.", list[0].ID)
	}
	return err
}

func (m *Manager) checkZones(hints []string) error {
	for _, z := range hints {
		if z != m.conf.Zone {
			return fault.New(fault.NotFound, "AvailabilityZone %s could not be found.", z).WithType("AvailabilityZoneNotFound")
		}
	}
	return nil
}

// setSharing keeps the RBAC policies for everybody equal to the network's
// shared and external attributes.
func (m *Manager) setSharing(ctx context.Context, n *network.Network, wasShared, wasExternal bool) error {
	if n.Shared != wasShared {
		if err := m.setRBAC(ctx, "network", n.ID, n.ProjectID, network.ActionShared, n.Shared); err != nil {
			return err
		}
	}
	if n.External != wasExternal {
		return m.setRBAC(ctx, "network", n.ID, n.ProjectID, network.ActionExternal, n.External)
	}
	return nil
}

func (m *Manager) setRBAC(ctx context.Context, typ, id, project, action string, on bool) error {
	list, err := store.Select[network.RBACPolicy](ctx, m.store, db.Where().Eq("object_id", id).Eq("action", action).Eq("target_project", "*"))
	if err != nil || on == (len(list) > 0) {
		return err
	}
	if !on {
		_, err := store.Delete(ctx, m.store, &list[0])
		return err
	}
	p := &network.RBACPolicy{ObjectType: typ, ObjectID: id, Action: action, TargetTenant: "*"}
	p.ProjectID = project
	return store.Insert(ctx, m.store, p)
}
