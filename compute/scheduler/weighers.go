package scheduler

import "github.com/tropocloud/tropo/compute"

// weigher is a Weigher of a function.
type weigher struct {
	name string
	f    func(h *Host, r *Request) float64
}

func (w weigher) Name() string                      { return w.name }
func (w weigher) Weigh(h *Host, r *Request) float64 { return w.f(h, r) }

var _ Weigher = weigher{}

func weighers(c *compute.Config) []weighted {
	o := &c.Scheduler
	return []weighted{
		{weigher{"RAMWeigher", func(h *Host, _ *Request) float64 { return float64(h.FreeMB()) }}, o.RAMWeight},
		{weigher{"CPUWeigher", func(h *Host, _ *Request) float64 { return float64(h.FreeVCPUs()) }}, o.CPUWeight},
		{weigher{"DiskWeigher", func(h *Host, _ *Request) float64 { return float64(h.FreeGB()) }}, o.DiskWeight},
		{weigher{"NumInstancesWeigher", func(h *Host, _ *Request) float64 { return float64(h.NumServers) }}, o.InstancesWeight},
		{weigher{"ServerGroupSoftAffinityWeigher", func(h *Host, r *Request) float64 {
			if policyIs(r, compute.SoftAffinity) {
				return float64(h.GroupMembers)
			}
			return 0
		}}, o.AffinityWeight},
		{weigher{"ServerGroupSoftAntiAffinityWeigher", func(h *Host, r *Request) float64 {
			if policyIs(r, compute.SoftAntiAffinity) {
				return -float64(h.GroupMembers)
			}
			return 0
		}}, o.AntiWeight},
	}
}
