package api_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db/dbtest"
)

// hosts adds n providers with three classes and some traits each.
func hosts(c client, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = uuid.NewString()
		c.ok("POST", "/resource_providers", fmt.Sprintf(`{"name": "host%d", "uuid": %q}`, i, ids[i]))
		c.ok("PUT", "/resource_providers/"+ids[i]+"/inventories", `{"resource_provider_generation": 0, "inventories": {
			"VCPU": {"total": 64, "allocation_ratio": 4}, "MEMORY_MB": {"total": 262144, "reserved": 512}, "DISK_GB": {"total": 2000}}}`)
		c.ok("PUT", "/resource_providers/"+ids[i]+"/traits", `{"resource_provider_generation": 1, "traits": ["COMPUTE_NODE", "HW_CPU_X86_AVX2", "COMPUTE_VOLUME_EXTEND"]}`)
	}
	return ids
}

const candidatesPath = "/allocation_candidates?resources=VCPU:2,MEMORY_MB:2048,DISK_GB:20&required=COMPUTE_NODE"

// BenchmarkCandidates is GET /allocation_candidates as the scheduler asks it.
func BenchmarkCandidates(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := client{b, service(b, dbtest.New(b))}
			hosts(c, n)
			c.ok("GET", candidatesPath, "")
			for b.Loop() {
				c.ok("GET", candidatesPath, "")
			}
		})
	}
}

// BenchmarkClaimAndCandidates claims and asks again each time, so that every
// answer follows a change.
func BenchmarkClaimAndCandidates(b *testing.B) {
	c := client{b, service(b, dbtest.New(b))}
	ids := hosts(c, 1000)
	i := 0
	for b.Loop() {
		i++
		c.ok("PUT", "/allocations/"+uuid.NewString(), fmt.Sprintf(`{"allocations": {%q: {"resources": {"VCPU": 1, "MEMORY_MB": 512}}}, "project_id": "p", "user_id": "u", "consumer_generation": null, "consumer_type": "INSTANCE"}`, ids[i%len(ids)]))
		c.ok("GET", candidatesPath+"&limit=100", "")
	}
}
