package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
)

// fullEvery is how often the whole inventory is told although nothing changed
// that placement is told: the uptime is only in there.
const fullEvery = 10 * time.Minute

// callTime bounds a question to the manager.
const callTime = 30 * time.Second

// reportLoop tells the manager what the host has: often until placement knows
// it, when it changes, and when the manager asks. Between that it gives signs
// of life, which are small.
func (a *Agent) reportLoop(ctx context.Context) {
	pause := 100 * time.Millisecond
	var told *compute.Inventory // nil: a full report is due
	var at time.Time
	for {
		inv, err := a.inventory(ctx)
		if err == nil {
			if told == nil || time.Since(at) > fullEvery || changed(*told, inv.Inventory) {
				var answer compute.ReportAnswer
				if answer, err = a.report(ctx, inv); err == nil && answer.Synced {
					told, at = &inv.Inventory, time.Now()
				}
				a.wantGuests(answer.Guests)
			} else {
				var answer compute.BeatAnswer
				if answer, err = a.beat(ctx); err == nil && answer.Report {
					told = nil
				}
				a.wantGuests(answer.Guests)
			}
		}
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && told != nil:
			pause = a.o.Config.ReportInterval
		default:
			pause = min(2*pause, time.Second, a.o.Config.ReportInterval)
			if err != nil && !fault.Is(err, fault.Unavailable) {
				a.o.Log.LogAttrs(ctx, slog.LevelWarn, "the manager did not take the host's report", slog.String("host", a.o.Host), slog.String("error", err.Error()))
			}
		}
		if !wait(ctx, jitter(pause), nil) {
			return
		}
	}
}

// jitter is d, up to a tenth more or less, so that hosts that were started
// together do not report together.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)*0.2*float64(d)) //nolint:gosec // no secret
}

// changed compares what is worth a full report.
func changed(a, b compute.Inventory) bool {
	a.Uptime = b.Uptime
	return !reflect.DeepEqual(a, b)
}

func (a *Agent) inventory(ctx context.Context) (compute.Report, error) {
	h, err := a.o.Driver.Host(ctx)
	if err != nil {
		return compute.Report{}, err
	}
	c := &a.o.Config
	in := compute.Report{Host: a.o.Host, Node: h.Hostname, BootID: a.boot, Inventory: compute.Inventory{
		Type: h.HypervisorType, Version: h.HypervisorVersion, IP: a.o.IP, VCPUs: h.VCPUs, MemoryMB: h.MemoryMiB,
		DiskGB: h.DiskGiB, FreeDiskGB: h.FreeDiskGiB, ReservedCPUs: c.ReservedCPUs, ReservedMB: min(c.ReservedMB, h.MemoryMiB/2),
		ReservedGB: (c.ReservedDiskMB + 1023) / 1024, CPURatio: c.CPURatio, RAMRatio: c.RAMRatio, DiskRatio: c.DiskRatio,
		CPU: compute.CPU(h.CPU), Traits: h.Traits, Uptime: uptime(time.Now()), Simulated: !h.NeedsImage,
	}}
	if in.Node == "" {
		in.Node = a.o.Host
	}
	return in, nil
}

func (a *Agent) report(ctx context.Context, in compute.Report) (compute.ReportAnswer, error) {
	return ask[compute.ReportAnswer](ctx, a, compute.MethodReport, in)
}

func (a *Agent) beat(ctx context.Context) (compute.BeatAnswer, error) {
	return ask[compute.BeatAnswer](ctx, a, compute.MethodBeat, compute.Beat{Host: a.o.Host})
}

// ask asks any manager.
func ask[T any](ctx context.Context, a *Agent, method string, in any) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return bus.Do[T](ctx, a.o.Bus, bus.Target{Topic: compute.TopicManager}, method, in)
}

// allowed asks the manager whether a guest may be made or started here: after a
// while without a connection it may live elsewhere by now, or nowhere.
func (a *Agent) allowed(ctx context.Context, serverID, order string) error {
	_, err := ask[struct{}](ctx, a, compute.MethodOrder, compute.Order{ServerID: serverID, Host: a.o.Host, ID: order})
	return err
}

// uptime is a line as uptime(1) prints it.
func uptime(now time.Time) string {
	up, err1 := os.ReadFile("/proc/uptime")
	load, err2 := os.ReadFile("/proc/loadavg")
	var seconds float64
	if err1 != nil || err2 != nil {
		return ""
	}
	if _, err := fmt.Sscanf(string(up), "%f", &seconds); err != nil {
		return ""
	}
	days, minutes := int(seconds)/86400, int(seconds)%86400/60
	f := strings.Fields(string(load))
	if len(f) < 3 {
		return ""
	}
	return fmt.Sprintf(" %s up %d days, %2d:%02d,  0 users,  load average: %s, %s, %s",
		now.UTC().Format("15:04:05"), days, minutes/60, minutes%60, f[0], f[1], f[2])
}
