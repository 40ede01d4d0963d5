package daemons

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/host"
)

// The databases believe every certificate of the cloud's authority: TLS alone
// would let any node write the northbound database or take part in raft, and
// one that was removed go on. So the control nodes' kernel lets in by address,
// too: control nodes to everything, other nodes to the southbound database,
// removed ones to nothing.

func (d *Daemons) accessTable() string { return "tropo_db_" + d.short }

// accessNote exists while there may be a table.
func (d *Daemons) accessNote() string { return d.db("access.nft") }

// ensureAccess makes the filter as it must be now.
func (d *Daemons) ensureAccess(ctx context.Context) error {
	if !d.clustered() {
		return nil
	}
	rules := d.accessRules()
	if have, err := os.ReadFile(d.accessNote()); err == nil && string(have) == rules && d.filtered(ctx) {
		return nil
	}
	if err := host.WriteFile(d.accessNote(), []byte(rules), 0o600); err != nil {
		return err
	}
	if err := d.nft(ctx, rules); err != nil {
		return fmt.Errorf("keep others from the network databases: %w", err)
	}
	return nil
}

func (d *Daemons) filtered(ctx context.Context) bool {
	_, err := d.command(ctx, "nft", "list", "table", "inet", d.accessTable())
	return err == nil
}

func (d *Daemons) nft(ctx context.Context, rules string) error {
	_, err := host.Run(ctx, host.Command{Path: "nft", Args: []string{"-f", "-"}, Stdin: []byte(rules), Netns: d.conf.HostNetns, Timeout: commandTimeout})
	return err
}

func (d *Daemons) accessRules() string {
	family := "ip"
	if d.conf.Address.Is6() {
		family = "ip6"
	}
	var b strings.Builder
	table := d.accessTable()
	fmt.Fprintf(&b, "table inet %s\ndelete table inet %s\ntable inet %s {\n\tchain arrive {\n\t\ttype filter hook input priority filter - 5\n", table, table, table)
	fmt.Fprintf(&b, "\t\t%s daddr != %s accept\n\t\tiif lo accept\n", family, d.conf.Address)
	fmt.Fprintf(&b, "\t\ttcp dport { %d, %d, %d } %s saddr != { %s } drop\n", NorthboundPort, northboundRaftPort, southboundRaftPort, family, list(append([]netip.Addr{d.conf.Address}, d.controls...)))
	if len(d.removed) > 0 {
		fmt.Fprintf(&b, "\t\ttcp dport %d %s saddr { %s } drop\n", SouthboundPort, family, list(d.removed))
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

// list writes addresses, each once.
func list(addrs []netip.Addr) string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), ", ")
}

// dropAccess removes the filter.
func (d *Daemons) dropAccess(ctx context.Context) error {
	if _, err := os.Stat(d.accessNote()); err != nil {
		return nil
	}
	return d.nft(ctx, "table inet "+d.accessTable()+"\ndelete table inet "+d.accessTable()+"\n")
}
