package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tropocloud/tropo/doctor"
)

// diagnose asks `tropo doctor` on a control node, and returns what it finds. It
// looks more than once: what is young may be about to change by itself.
func (c *cloud) diagnose(ctx context.Context, n *node) error {
	return until(ctx, time.Minute, func(ctx context.Context) error {
		out, err := n.tropo(ctx, "doctor", "--json")
		var r doctor.Report
		if e := json.Unmarshal([]byte(out), &r); e != nil {
			return fmt.Errorf("tropo doctor on %s: %w (%v)", n.name, e, err)
		}
		var all []string
		for _, f := range r.Findings {
			all = append(all, fmt.Sprintf("%s: %s %s %s: %s", f.Check, f.Service, f.Kind, f.ID, f.Problem))
		}
		for _, u := range r.Unchecked {
			all = append(all, fmt.Sprintf("%s: %s %s was not checked: %s", u.Check, u.Service, u.What, u.Reason))
		}
		if len(all) > 0 {
			return fmt.Errorf("tropo doctor on %s:\n%s", n.name, strings.Join(all, "\n"))
		}
		if r.Checks == 0 {
			return fmt.Errorf("tropo doctor on %s checked nothing", n.name)
		}
		return err
	})
}
