package vif

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tropocloud/tropo/fault"
)

// Tap is an interface that the switch holds for a server.
type Tap struct{ Device, ServerID string }

// All returns the taps that the switch holds for servers, whoever they are.
func (p *Plugger) All(ctx context.Context) ([]Tap, error) {
	out, err := p.run(ctx, "ovs-vsctl", p.database("--format=json", "--columns=name,external_ids", "list", "interface")...)
	if err != nil {
		return nil, err
	}
	// A row is [name, ["map", [[key, value], …]]] (RFC 7047, section 5.1).
	var table struct{ Data [][2]json.RawMessage }
	if err := json.Unmarshal(out, &table); err != nil {
		return nil, fmt.Errorf("ovs-vsctl: %w", err)
	}
	var taps []Tap
	for _, row := range table.Data {
		var t Tap
		var ids [2]json.RawMessage
		var pairs [][2]string
		if json.Unmarshal(row[0], &t.Device) != nil || json.Unmarshal(row[1], &ids) != nil || json.Unmarshal(ids[1], &pairs) != nil {
			continue // not one of ours: its ids are no map of texts
		}
		for _, kv := range pairs {
			if kv[0] == "vm-uuid" {
				t.ServerID = kv[1]
			}
		}
		if t.ServerID != "" && strings.HasPrefix(t.Device, "tap") { // never another interface of the host
			taps = append(taps, t)
		}
	}
	return taps, nil
}

// Remove takes a tap that no definition names off its bridge and deletes it.
func (p *Plugger) Remove(ctx context.Context, device string) error {
	if !strings.HasPrefix(device, "tap") {
		return fault.Invalidf("%q is no guest's interface.", device)
	}
	if err := p.remove(ctx, device); err != nil {
		return fault.Wrap(kind(err), err, "The interface could not be unplugged.")
	}
	return nil
}
