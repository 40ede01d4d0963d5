package resttest

import "testing"

func TestAuditIDsAreNormalised(t *testing.T) {
	n := &normaliser{ids: map[string]string{}}
	got := n.clean(`{"audit_ids": ["ylmfbQ", "x-_y"], "audit_chain_id": "zz"}`)
	if want := `{"audit_ids": "<audit>", "audit_chain_id": "<audit>"}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
