package chaos

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row sums up what became of a fault that was injected some times.
type row struct {
	fault                        string
	times, acknowledged, retries int
	lost, stuck, orphans         int
	recovery, outage             time.Duration
}

// table renders the outcomes, one line per fault.
func table(outcomes []outcome) string {
	var rows []*row
	find := func(fault string) *row {
		i := slices.IndexFunc(rows, func(r *row) bool { return r.fault == fault })
		if i < 0 {
			rows = append(rows, &row{fault: fault})
			i = len(rows) - 1
		}
		return rows[i]
	}
	sum := &row{fault: "all"}
	for _, o := range outcomes {
		for _, r := range []*row{find(o.fault), sum} {
			r.times++
			r.acknowledged += o.acknowledged
			r.retries += o.stats.retries
			r.lost += len(o.findings.lost)
			r.stuck += len(o.findings.stuck)
			r.orphans += len(o.findings.orphans)
			r.recovery = max(r.recovery, o.recovery)
			r.outage = max(r.outage, o.outage)
		}
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line("fault\ttimes\tacknowledged\tretries\tlost\tstuck\torphans\tlongest recovery\tlongest without ping")
	for _, r := range append(rows, sum) {
		line("%s\t%d\t%d\t%d\t%d\t%d\t%d\t%.1f s\t%.1f s", r.fault, r.times, r.acknowledged, r.retries, r.lost, r.stuck, r.orphans,
			r.recovery.Seconds(), r.outage.Seconds())
	}
	_ = w.Flush() // into a builder
	return b.String()
}
