package chaos

import (
	"testing"
	"time"
)

// TestClientAsksAnother: after a failure the next is asked, even when each
// control node has failed in the last seconds, as in a quick rolling restart.
func TestClientAsksAnother(t *testing.T) {
	c := newClient(nil, "", []string{"c1", "c2", "c3"})
	asked := map[string]int{}
	for range 30 {
		asked[c.choose("")]++
	}
	if asked["c1"] != 10 || asked["c2"] != 10 {
		t.Errorf("asked in turn: %v", asked)
	}
	now := time.Now()
	c.suspect = map[string]time.Time{"c1": now.Add(-suspicion / 2), "c2": now.Add(-suspicion / 4), "c3": now}
	for range 3 {
		if at := c.choose(""); at != "c1" {
			t.Errorf("all are under suspicion, c3 the last: %s", at)
		}
	}
	c.suspect["c2"] = now.Add(-2 * suspicion)
	for range 3 {
		if at := c.choose(""); at != "c2" {
			t.Errorf("c2 is not under suspicion: %s", at)
		}
		if at := c.choose("c2"); at != "c1" {
			t.Errorf("without c2: %s", at)
		}
	}
}
