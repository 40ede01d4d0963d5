package api

import "testing"

// BenchmarkCreatePort measures a port's whole creation over HTTP on SQLite.
func BenchmarkCreatePort(b *testing.B) {
	s := newService(b)
	s.want(200, "admin", "PUT", "/v2.0/quotas/"+project("p1"), `{"quota":{"port":-1}}`)
	net := s.make("member", "networks", `{"network":{}}`)
	s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/16"}}`)
	for b.Loop() {
		s.make("member", "ports", `{"port":{"network_id":"`+net+`"}}`)
	}
}

// BenchmarkListPorts measures a list of 200 ports.
func BenchmarkListPorts(b *testing.B) {
	s := newService(b)
	net := s.make("member", "networks", `{"network":{}}`)
	s.make("member", "subnets", `{"subnet":{"network_id":"`+net+`","ip_version":4,"cidr":"10.0.0.0/16"}}`)
	for range 200 {
		s.make("member", "ports", `{"port":{"network_id":"`+net+`"}}`)
	}
	for b.Loop() {
		if n := len(s.items("member", "/v2.0/ports")); n != 201 {
			b.Fatal(n)
		}
	}
}
