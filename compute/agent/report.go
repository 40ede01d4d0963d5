package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/fault"
)

// reportLoop tells the manager what the host has: often until placement knows
// it, then as a sign of life.
func (a *Agent) reportLoop(ctx context.Context) {
	pause := 100 * time.Millisecond
	for {
		answer, err := a.report(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && answer.Synced:
			pause = a.o.Config.ReportInterval
		default:
			pause = min(2*pause, time.Second, a.o.Config.ReportInterval)
			if err != nil && !fault.Is(err, fault.Unavailable) {
				a.o.Log.LogAttrs(ctx, slog.LevelWarn, "the manager did not take the host's report", slog.String("host", a.o.Host), slog.String("error", err.Error()))
			}
		}
		if !wait(ctx, pause, nil) {
			return
		}
	}
}

func (a *Agent) report(ctx context.Context) (compute.ReportAnswer, error) {
	h, err := a.o.Driver.Host(ctx)
	if err != nil {
		return compute.ReportAnswer{}, err
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
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return bus.Do[compute.ReportAnswer](ctx, a.o.Bus, bus.Target{Topic: compute.TopicManager}, compute.MethodReport, in)
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

// eventLoop passes on what guests do by themselves.
func (a *Agent) eventLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-a.o.Driver.Events():
			if !ok {
				return
			}
			i, err := a.info(ctx, e.ServerID)
			if err == nil && i.Exists {
				err = a.tell(ctx, compute.GuestsReport{Guests: []compute.GuestInfo{i}, Partial: true})
			}
			if err != nil && ctx.Err() == nil { // the periodic look mends it
				a.o.Log.LogAttrs(ctx, slog.LevelInfo, "an event of a guest was not passed on", slog.String("server", e.ServerID), slog.String("error", err.Error()))
			}
		}
	}
}

// syncLoop compares the guests of the host with what they should be, at the
// start and then now and then.
func (a *Agent) syncLoop(ctx context.Context) {
	start := true
	for {
		pause := a.o.Config.SyncInterval
		err := a.sync(ctx, start)
		if err != nil && ctx.Err() == nil {
			if !fault.Is(err, fault.Unavailable) {
				a.o.Log.LogAttrs(ctx, slog.LevelWarn, "the host's guests were not compared", slog.String("host", a.o.Host), slog.String("error", err.Error()))
			}
			if start {
				pause = min(pause, 500*time.Millisecond)
			}
		}
		start = start && err != nil
		if !wait(ctx, pause, a.nudge) {
			return
		}
	}
}

func (a *Agent) sync(ctx context.Context, start bool) error {
	list, err := a.o.Driver.List(ctx)
	if err != nil {
		return err
	}
	in := compute.GuestsReport{Start: start}
	used := map[string]bool{}
	for _, i := range list {
		in.Guests = append(in.Guests, guestInfo(i))
		used[i.ImageID] = true
	}
	if err := a.tell(ctx, in); err != nil {
		return err
	}
	if a.o.Cache != nil {
		_, err = a.o.Cache.Prune(ctx, used, 24*time.Hour)
	}
	return err
}

// tell reports guests and does what the manager answers.
func (a *Agent) tell(ctx context.Context, in compute.GuestsReport) error {
	in.Host, in.BootID = a.o.Host, a.boot
	cctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	answer, err := bus.Do[compute.GuestsAnswer](cctx, a.o.Bus, bus.Target{Topic: compute.TopicManager}, compute.MethodGuests, in)
	cancel()
	if err != nil {
		return err
	}
	for _, id := range answer.Destroy {
		a.o.Log.LogAttrs(ctx, slog.LevelInfo, "destroying a guest that was deleted while this host was away", slog.String("server", id))
		if err := a.o.Driver.Destroy(ctx, id, false); err != nil {
			return err
		}
	}
	for _, id := range answer.Start {
		a.o.Log.LogAttrs(ctx, slog.LevelInfo, "starting a guest that ran before the host went down", slog.String("server", id))
		if err := a.o.Driver.PowerOn(ctx, id); err != nil && !fault.Is(err, fault.NotFound) {
			return err
		}
	}
	return nil
}
