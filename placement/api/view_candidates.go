package api

import (
	"slices"
	"strconv"

	"github.com/tropocloud/tropo/placement/candidate"
	"github.com/tropocloud/tropo/rest"
)

// candidateView writes the answer by hand: with a thousand candidates it is
// most of a megabyte, and everything in it (UUIDs, names of classes and
// traits, suffixes, numbers) needs no escaping.
type candidateView struct {
	version rest.Version
	b       []byte
}

func (v *candidateView) since(s string) bool { return v.version.AtLeast(rest.V(s)) }

func (v *candidateView) render(res *candidate.Result) []byte {
	v.b = make([]byte, 0, 256+400*len(res.Candidates)+500*len(res.Providers))
	v.b = append(v.b, `{"allocation_requests": [`...)
	dict, mappings := v.since("1.12"), v.since("1.34")
	for i := range res.Candidates {
		v.comma(i)
		c := &res.Candidates[i]
		if dict {
			v.allocations(c)
		} else {
			v.allocationList(c)
		}
		if mappings {
			v.mappings(c)
		}
		v.b = append(v.b, '}')
	}
	v.b = append(v.b, `], "provider_summaries": {`...)
	v.summaries(res)
	v.b = append(v.b, "}}"...)
	return v.b
}

func (v *candidateView) comma(i int) {
	if i > 0 {
		v.b = append(v.b, ", "...)
	}
}

func (v *candidateView) quote(s string) {
	v.b = append(v.b, '"')
	v.b = append(v.b, s...)
	v.b = append(v.b, '"')
}

func (v *candidateView) key(s string) {
	v.quote(s)
	v.b = append(v.b, ": "...)
}

func (v *candidateView) resources(list []candidate.Amount) {
	v.b = append(v.b, `"resources": {`...)
	for i, a := range list {
		v.comma(i)
		v.key(a.Class)
		v.b = strconv.AppendInt(v.b, int64(a.Amount), 10)
	}
	v.b = append(v.b, '}')
}

func (v *candidateView) allocations(c *candidate.Candidate) {
	v.b = append(v.b, `{"allocations": {`...)
	for i, a := range c.Allocations {
		v.comma(i)
		v.key(a.Provider.UUID)
		v.b = append(v.b, '{')
		v.resources(a.Resources)
		v.b = append(v.b, '}')
	}
	v.b = append(v.b, '}')
}

// allocationList is the form before 1.12.
func (v *candidateView) allocationList(c *candidate.Candidate) {
	v.b = append(v.b, `{"allocations": [`...)
	for i, a := range c.Allocations {
		v.comma(i)
		v.b = append(v.b, `{"resource_provider": {"uuid": `...)
		v.quote(a.Provider.UUID)
		v.b = append(v.b, "}, "...)
		v.resources(a.Resources)
		v.b = append(v.b, '}')
	}
	v.b = append(v.b, ']')
}

func (v *candidateView) mappings(c *candidate.Candidate) {
	v.b = append(v.b, `, "mappings": {`...)
	for i, m := range c.Mappings {
		v.comma(i)
		v.key(m.Suffix)
		v.b = append(v.b, '[')
		for j, p := range m.Providers {
			v.comma(j)
			v.quote(p.UUID)
		}
		v.b = append(v.b, ']')
	}
	v.b = append(v.b, '}')
}

// summaries writes the providers: until 1.28 those that candidates take from,
// then their whole trees; until 1.26 the classes asked for, then all.
func (v *candidateView) summaries(res *candidate.Result) {
	var used map[*candidate.Provider]bool
	if !v.since("1.29") {
		used = map[*candidate.Provider]bool{}
		for i := range res.Candidates {
			for _, a := range res.Candidates[i].Allocations {
				used[a.Provider] = true
			}
		}
	}
	all, traits, trees := v.since("1.27"), v.since("1.17"), v.since("1.29")
	n := 0
	for _, p := range res.Providers {
		if used != nil && !used[p] {
			continue
		}
		v.comma(n)
		n++
		v.key(p.UUID)
		v.b = append(v.b, `{"resources": {`...)
		v.stocks(p, all, res.Classes)
		v.b = append(v.b, '}')
		if traits {
			v.traits(p)
		}
		if trees {
			v.place(p)
		}
		v.b = append(v.b, '}')
	}
}

func (v *candidateView) stocks(p *candidate.Provider, all bool, classes []string) {
	n := 0
	for i := range p.Stocks {
		s := &p.Stocks[i]
		if !all && !slices.Contains(classes, s.ResourceClass) {
			continue
		}
		v.comma(n)
		n++
		v.key(s.ResourceClass)
		v.b = append(v.b, `{"capacity": `...)
		v.b = strconv.AppendInt(v.b, int64(s.Capacity), 10)
		v.b = append(v.b, `, "used": `...)
		v.b = strconv.AppendInt(v.b, int64(s.Used), 10)
		v.b = append(v.b, '}')
	}
}

func (v *candidateView) traits(p *candidate.Provider) {
	v.b = append(v.b, `, "traits": [`...)
	for i, t := range p.Traits {
		v.comma(i)
		v.quote(t)
	}
	v.b = append(v.b, ']')
}

func (v *candidateView) place(p *candidate.Provider) {
	v.b = append(v.b, `, "parent_provider_uuid": `...)
	if p.ParentUUID == nil {
		v.b = append(v.b, "null"...)
	} else {
		v.quote(*p.ParentUUID)
	}
	v.b = append(v.b, `, "root_provider_uuid": `...)
	v.quote(p.RootUUID)
}
