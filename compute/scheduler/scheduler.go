// Package scheduler chooses the host of a server: placement's candidates go
// through filters, which say no with a reason, and weighers, which put the rest
// in order. It is pure: what it needs to know comes with the call.
//
// A filter or a weigher of one's own is a type with the two methods of Filter
// or Weigher, added to the table in filters.go or weighers.go; a filter is then
// named in enabled_filters.
package scheduler

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"

	"github.com/tropocloud/tropo/compute"
)

// Host is a candidate as the scheduler sees it.
type Host struct {
	Name       string // of the host
	Node       string // of the hypervisor
	ProviderID string // its resource provider
	Zone       string
	Up         bool
	Disabled   bool
	Reason     string // why it is disabled
	Inventory  compute.Inventory
	Aggregates []compute.Aggregate
	UsedVCPUs  int
	UsedMB     int
	UsedGB     int
	NumServers int
	// ServerIDs are those servers on the host that hints or the group ask
	// about.
	ServerIDs map[string]bool
	// GroupMembers is how many members of the server's group are here.
	GroupMembers int
}

// FreeMB is the memory that can still be given out.
func (h *Host) FreeMB() int {
	return int(float64(h.Inventory.MemoryMB-h.Inventory.ReservedMB)*h.Inventory.RAMRatio) - h.UsedMB
}

// FreeVCPUs are the processors that can still be given out.
func (h *Host) FreeVCPUs() int {
	return int(float64(h.Inventory.VCPUs-h.Inventory.ReservedCPUs)*h.Inventory.CPURatio) - h.UsedVCPUs
}

// FreeGB is the disk that can still be given out.
func (h *Host) FreeGB() int {
	return int(float64(h.Inventory.DiskGB-h.Inventory.ReservedGB)*h.Inventory.DiskRatio) - h.UsedGB
}

// Request is what the server asks for.
type Request struct {
	Server      *compute.Server
	Flavor      compute.Flavor
	ImageProps  map[string]string
	Hints       map[string][]string
	Zone        string
	IgnoreHosts map[string]string // host → why it is not wanted again
	Group       *compute.Group    // nil: none
	ProjectID   string
}

// Refusal says why a host cannot take the server.
type Refusal struct {
	Host   string `json:"host"`
	Filter string `json:"filter"`
	Why    string `json:"why"`
}

// Filter says whether a host can take a server, and if not, why not.
type Filter interface {
	Name() string
	Pass(h *Host, r *Request) (ok bool, why string)
}

// Weigher gives a host a number: more is better. Numbers are scaled to the
// range from 0 to 1 over all hosts before they are multiplied and summed up.
type Weigher interface {
	Name() string
	Weigh(h *Host, r *Request) float64
}

// Scheduler chooses hosts.
type Scheduler struct {
	driver   string
	filters  []Filter
	weighers []weighted
	subset   int
	shuffle  func(n int, swap func(i, j int))
}

type weighted struct {
	Weigher
	factor float64
}

// New makes the scheduler that the configuration asks for; an unknown filter
// or driver is an error.
func New(c *compute.Config) (*Scheduler, error) {
	s := &Scheduler{driver: c.Scheduler.Driver, subset: max(1, c.Scheduler.SubsetSize), shuffle: rand.Shuffle, weighers: weighers(c)}
	switch s.driver {
	case "":
		s.driver = "filter"
	case "filter", "chance", "simple", "multi":
	default:
		return nil, fmt.Errorf("unknown scheduler driver %q", s.driver)
	}
	known := map[string]Filter{}
	for _, f := range allFilters {
		known[f.Name()] = f
	}
	for _, name := range c.Scheduler.Filters {
		f, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("unknown scheduler filter %q", name)
		}
		s.filters = append(s.filters, f)
	}
	return s, nil
}

// Select puts the hosts that can take the server in order, the best first, and
// says of every other one which filter refused it.
//
// The chance driver shuffles hosts that are up, the simple driver puts the one
// with the fewest servers first, the filter driver weighs, and multi takes the
// filter driver's answer or, where that finds nobody, the simple driver's.
func (s *Scheduler) Select(hosts []Host, r *Request) (chosen []Host, refused []Refusal) {
	switch s.driver {
	case "chance":
		chosen, refused = s.pass(basic, hosts, r)
		s.shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	case "simple":
		chosen, refused = s.simple(hosts, r)
	case "multi":
		if chosen, refused = s.weighed(hosts, r); len(chosen) == 0 {
			chosen, _ = s.simple(hosts, r)
		}
	default:
		chosen, refused = s.weighed(hosts, r)
	}
	return chosen, refused
}

func (s *Scheduler) simple(hosts []Host, r *Request) ([]Host, []Refusal) {
	chosen, refused := s.pass(basic, hosts, r)
	sort.SliceStable(chosen, func(i, j int) bool { return chosen[i].NumServers < chosen[j].NumServers })
	return chosen, refused
}

func (s *Scheduler) weighed(hosts []Host, r *Request) ([]Host, []Refusal) {
	chosen, refused := s.pass(s.filters, hosts, r)
	score := s.scores(chosen, r)
	order := make([]int, len(chosen))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(i, j int) bool { return score[order[i]] > score[order[j]] })
	out := make([]Host, len(chosen))
	for i, k := range order {
		out[i] = chosen[k]
	}
	n := min(s.subset, len(out))
	s.shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out, refused
}

func (s *Scheduler) pass(filters []Filter, hosts []Host, r *Request) (chosen []Host, refused []Refusal) {
next:
	for i := range hosts {
		h := &hosts[i]
		if why, bad := r.IgnoreHosts[h.Name]; bad {
			refused = append(refused, Refusal{h.Name, "RetryFilter", why})
			continue
		}
		for _, f := range filters {
			if ok, why := f.Pass(h, r); !ok {
				refused = append(refused, Refusal{h.Name, f.Name(), why})
				continue next
			}
		}
		chosen = append(chosen, *h)
	}
	return chosen, refused
}

func (s *Scheduler) scores(hosts []Host, r *Request) []float64 {
	total := make([]float64, len(hosts))
	for _, w := range s.weighers {
		if w.factor == 0 || len(hosts) == 0 {
			continue
		}
		raw := make([]float64, len(hosts))
		for i := range hosts {
			raw[i] = w.Weigh(&hosts[i], r)
		}
		lo, hi := raw[0], raw[0]
		for _, x := range raw {
			lo, hi = min(lo, x), max(hi, x)
		}
		if hi == lo {
			continue
		}
		for i, x := range raw {
			total[i] += w.factor * (x - lo) / (hi - lo)
		}
	}
	return total
}

// Explain is one line for each refusal, for administrators.
func Explain(refused []Refusal) string {
	var b strings.Builder
	for _, r := range refused {
		fmt.Fprintf(&b, "%s: %s: %s\n", r.Host, r.Filter, r.Why)
	}
	return strings.TrimRight(b.String(), "\n")
}
