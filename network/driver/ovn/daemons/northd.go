package daemons

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

func (d *Daemons) northd() process {
	return process{
		name: "northd", program: "ovn-northd", control: d.run("northd.ctl"), netns: d.conf.HostNetns, exact: true,
		args: append([]string{
			"--ovnnb-db=" + d.probed(northbound()), "--ovnsb-db=" + d.probed(southbound()),
		}, d.tls()...),
	}
}

// probed lists where a database is for northd, the machine's own last: northd
// probes its connections only where the list does not begin with a local one,
// and without probes it waits for a leader that is cut off as long as TCP does.
func (d *Daemons) probed(c central) string {
	list := d.remotes(c)
	if own := "unix:" + d.run(c.name+".sock"); len(list) > 1 && list[0] == own {
		list = append(list[1:], own)
	}
	return strings.Join(list, ",")
}

// awaitNorthd returns when northd has filled the southbound database.
// ovn-controller 23.03 now and then dies of one that is still empty. With
// other control nodes nothing waits for them: they may wait for this one.
func (d *Daemons) awaitNorthd(ctx context.Context) error {
	if !d.conf.Central {
		return nil
	}
	limit := "15"
	if len(d.controls) > 1 {
		limit = "3"
	}
	_, err := d.command(ctx, "ovn-nbctl", "--db="+d.Northbound(), "--timeout="+limit, "--wait=sb", "--no-leader-only", "sync")
	if err != nil && len(d.controls) > 1 && ctx.Err() == nil {
		d.conf.Log.InfoContext(ctx, "network databases have not joined those of other control nodes yet", slog.Any("error", err))
		return nil
	}
	return err
}

// How long northd may look for leaders that there are, before it is started anew;
// and at most, after it did not help.
const (
	northdPatience    = 2 * time.Second
	northdMaxPatience = time.Minute
)

// mindNorthd starts northd anew where it looks in vain for the leaders of the
// databases, though they have some. It tries the members in turn, and waits up to
// 8 seconds before each when a few tries have failed, as in an election; a new
// one asks all of them at once.
func (d *Daemons) mindNorthd(ctx context.Context) error {
	d.mu.Lock()
	several, p := d.clustered() && len(d.controls) > 1, d.northd()
	d.mu.Unlock()
	if !several {
		return nil
	}
	if d.connected(ctx, p.control, "nb-connection-status") && d.connected(ctx, p.control, "sb-connection-status") {
		d.astray, d.patience = time.Time{}, northdPatience
		return nil
	}
	for _, c := range []central{northbound(), southbound()} {
		if status, err := d.status(ctx, c); err != nil || !led(status) {
			d.astray = time.Time{}
			return err
		}
	}
	if d.astray.IsZero() {
		d.astray = time.Now()
	}
	if time.Since(d.astray) < d.patience {
		return nil
	}
	d.conf.Log.InfoContext(ctx, "northd does not find the leaders of its databases: started anew")
	d.astray, d.patience = time.Time{}, min(2*d.patience, northdMaxPatience)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.stopProcess(ctx, p); err != nil {
		return err
	}
	_, err := d.ensureProcess(ctx, p)
	return err
}
