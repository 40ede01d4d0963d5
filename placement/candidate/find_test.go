package candidate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tropocloud/tropo/placement"
	"github.com/tropocloud/tropo/placement/candidate"
)

// cloud builds snapshots from short words.
type cloud struct {
	list []*candidate.Provider
	at   time.Time
}

// add makes a provider: "VCPU=4" is inventory, "VCPU=4/3" with 3 in use,
// "@agg" an aggregate, anything else a trait.
func (c *cloud) add(id, parent string, words ...string) *cloud {
	c.at = c.at.Add(time.Second)
	p := placement.Provider{UUID: id, Name: id, RootUUID: id, CreatedAt: c.at}
	for _, o := range c.list {
		if o.UUID == parent {
			p.ParentUUID, p.RootUUID = &o.UUID, o.RootUUID
		}
	}
	out := candidate.NewProvider(p)
	for _, w := range words {
		class, amount, stock := strings.Cut(w, "=")
		switch {
		case stock:
			var total, used int
			_, _ = fmt.Sscanf(amount, "%d/%d", &total, &used) // without /used the second stays 0
			out.SetInventory(placement.Inventory{ProviderUUID: id, ResourceClass: class, Total: total, MinUnit: 1, MaxUnit: total, StepSize: 1, AllocationRatio: 1}, used)
		case strings.HasPrefix(w, "@"):
			out.AddAggregate(w[1:])
		default:
			out.AddTrait(w)
		}
	}
	c.list = append(c.list, out)
	return c
}

func (c *cloud) find(r candidate.Request, o candidate.Options) []string {
	if o.Bound == 0 {
		o.Bound = placement.CandidateBound
	}
	res := candidate.NewSnapshot(slices.Clone(c.list)).Find(&r, o)
	var out []string
	for _, x := range res.Candidates {
		var parts []string
		for _, a := range x.Allocations {
			for _, am := range a.Resources {
				parts = append(parts, fmt.Sprintf("%s:%s=%d", a.Provider.UUID, am.Class, am.Amount))
			}
		}
		out = append(out, strings.Join(parts, " "))
	}
	return out
}

func amounts(s string) []candidate.Amount {
	var out []candidate.Amount
	for _, w := range strings.Fields(s) {
		class, n, _ := strings.Cut(w, "=")
		a := candidate.Amount{Class: class}
		_, _ = fmt.Sscan(n, &a.Amount)
		out = append(out, a)
	}
	return out
}

func group(suffix, resources string, traits ...string) candidate.Group {
	g := candidate.Group{Suffix: suffix, Resources: amounts(resources)}
	for _, t := range traits {
		if f, ok := strings.CutPrefix(t, "!"); ok {
			g.Traits.Forbidden = append(g.Traits.Forbidden, f)
			continue
		}
		g.Traits.Required = append(g.Traits.Required, strings.Split(t, "|"))
	}
	return g
}

func request(groups ...candidate.Group) candidate.Request { return candidate.Request{Groups: groups} }

func TestFind(t *testing.T) {
	// Two hosts with two network cards each; a shared store for one of them.
	numa := (&cloud{}).
		add("h1", "", "VCPU=8", "DISK=100", "COMPUTE").
		add("h1n1", "h1", "VF=2", "NET_A").
		add("h1n2", "h1", "VF=2/1", "NET_B").
		add("h2", "", "VCPU=8/7", "@agg").
		add("h2n1", "h2", "VF=4", "NET_A").
		add("store", "", "DISK=1000", placement.SharingTrait, "SSD", "@agg")
	isolate := request(group("1", "VF=1"), group("2", "VF=1"))
	isolate.Isolate = true
	flat := request(group("", "VCPU=1 VF=1"))
	flat.Flat = true
	inTree := request(group("", "VCPU=1"))
	inTree.Groups[0].InTree = "h2n1"
	root := request(group("", "VF=1"))
	root.Root.Required = [][]string{{"COMPUTE"}}
	memberOf := request(group("", "VF=1"))
	memberOf.Groups[0].Aggregates.MemberOf = [][]string{{"agg"}}
	granularMember := request(group("1", "VF=1"))
	granularMember.Groups[0].Aggregates.MemberOf = [][]string{{"agg"}}
	notMember := request(group("", "VCPU=1"))
	notMember.Groups[0].Aggregates.Forbidden = []string{"agg"}
	limit := request(group("", "VF=1"))
	limit.Limit = 2
	subtree := request(group("_top", "VCPU=1"), group("_nic", "VF=1"), group("_x", "VF=1"))
	subtree.SameSubtree = [][]string{{"_nic", "_x"}}
	for _, c := range []struct {
		name string
		r    candidate.Request
		o    candidate.Options
		want []string
	}{
		{name: "one class", r: request(group("", "VCPU=1")), want: []string{"h1:VCPU=1", "h2:VCPU=1"}},
		{name: "used up", r: request(group("", "VCPU=2")), want: []string{"h1:VCPU=2"}},
		{name: "several providers of a tree", r: request(group("", "VCPU=2 VF=1")), want: []string{"h1:VCPU=2 h1n1:VF=1", "h1:VCPU=2 h1n2:VF=1"}},
		{name: "not several of a tree for old clients", r: flat, want: nil},
		{name: "shared disk", r: request(group("", "VCPU=1 DISK=10")), want: []string{"h1:VCPU=1 h1:DISK=10", "h2:VCPU=1 store:DISK=10"}},
		{name: "sharing provider alone comes once", r: request(group("", "DISK=500")), want: []string{"store:DISK=500"}},
		{name: "traits of the whole", r: request(group("", "VCPU=1 VF=1", "COMPUTE", "NET_A")), want: []string{"h1:VCPU=1 h1n1:VF=1"}},
		{name: "any trait", r: request(group("", "VF=2", "NET_A|NET_B")), want: []string{"h1n1:VF=2", "h2n1:VF=2"}},
		{name: "forbidden trait", r: request(group("", "VF=1", "!NET_A")), want: []string{"h1n2:VF=1"}},
		{name: "isolated groups", r: isolate, want: []string{"h1n1:VF=1 h1n2:VF=1", "h1n2:VF=1 h1n1:VF=1"}},
		{name: "groups together fit", r: request(group("1", "VF=2"), group("2", "VF=2")), want: []string{"h2n1:VF=4"}},
		{name: "in tree", r: inTree, want: []string{"h2:VCPU=1"}},
		{name: "root", r: root, want: []string{"h1n1:VF=1", "h1n2:VF=1"}},
		{name: "member by root", r: memberOf, want: []string{"h2n1:VF=1"}},
		{name: "granular member not by root", r: granularMember, want: nil},
		{name: "not member", r: notMember, want: []string{"h1:VCPU=1"}},
		{name: "limit", r: limit, want: []string{"h1n1:VF=1", "h1n2:VF=1"}},
		{name: "breadth first", r: limit, o: candidate.Options{BreadthFirst: true}, want: []string{"h1n1:VF=1", "h2n1:VF=1"}},
		{name: "same subtree", r: subtree, want: []string{"h1:VCPU=1 h1n1:VF=2", "h2:VCPU=1 h2n1:VF=2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := numa.find(c.r, c.o); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestSnapshotsShareNothingThatChanges builds a snapshot out of another's
// providers, as a refresh does, and looks that the first still answers alike.
func TestSnapshotsShareNothingThatChanges(t *testing.T) {
	c := (&cloud{}).add("h1", "", "VCPU=4").add("h2", "", "VCPU=4")
	first := candidate.NewSnapshot(slices.Clone(c.list))
	r := request(group("", "VCPU=1"))
	o := candidate.Options{Bound: 10}
	before := len(first.Find(&r, o).Candidates)
	second := candidate.NewSnapshot([]*candidate.Provider{first.Provider("h1")})
	if n := len(second.Find(&r, o).Candidates); n != 1 {
		t.Errorf("the second snapshot has %d candidates, want 1", n)
	}
	if n := len(first.Find(&r, o).Candidates); n != before {
		t.Errorf("the first snapshot has %d candidates, had %d", n, before)
	}
}

// TestFindIsBounded asks for what has more combinations than anybody can use.
func TestFindIsBounded(t *testing.T) {
	c := (&cloud{}).add("h", "")
	for i := range 16 {
		c.add(fmt.Sprint("n", i), "h", "VF=8")
	}
	var groups []candidate.Group
	for i := range 12 {
		groups = append(groups, group(fmt.Sprint(i), "VF=1"))
	}
	if n := len(c.find(request(groups...), candidate.Options{Bound: 1000})); n != 1000 {
		t.Errorf("got %d candidates, want 1000", n)
	}
}

func BenchmarkFind1000(b *testing.B) {
	c := &cloud{}
	for i := range 1000 {
		c.add(fmt.Sprintf("%08d-0000-4000-8000-000000000000", i), "", "VCPU=64/3", "MEMORY_MB=65536/100", "DISK_GB=1000", "COMPUTE_NODE", "HW_CPU_X86_AVX")
	}
	s := candidate.NewSnapshot(c.list)
	r := request(group("", "VCPU=2 MEMORY_MB=2048 DISK_GB=20", "COMPUTE_NODE"))
	for b.Loop() {
		if n := len(s.Find(&r, candidate.Options{Bound: placement.CandidateBound}).Candidates); n != 1000 {
			b.Fatal(n)
		}
	}
}
