package chaos

import (
	"testing"
)

// TestOneNode proves the harness: a cloud on one machine of the site.
func TestOneNode(t *testing.T) {
	s := newSite(t, "TROPO_CHAOS")
	c := newCloud(t.Context(), s, spec{nodes: []nodeSpec{{"c1", 11, []string{"control", "compute", "network", "storage"}}}})
	tn, err := newTenant(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tn.witness(t.Context(), "w1", "c1"); err != nil {
		t.Fatal(err)
	}
}
