package daemons

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/host"
)

// process is one daemon.
type process struct {
	name    string // of its pid file and log
	program string
	args    []string
	netns   string
	// control is the daemon's control socket; empty: PROGRAM.PID.ctl, for
	// those that can't be told one.
	control string
	// prepare, if set, runs before each start.
	prepare func(context.Context) error
}

// processes lists the daemons in the order of their start.
func (d *Daemons) processes() []process {
	list := []process{d.switchDB(), d.vswitchd()}
	return append(append(list, d.central()...), d.controller())
}

func (d *Daemons) switchDB() process {
	return d.database("ovsdb", "conf.db", filepath.Join(d.conf.SchemasOVS, "vswitch.ovsschema"), "db.sock", nil)
}

func (d *Daemons) vswitchd() process {
	return process{name: "vswitchd", program: "ovs-vswitchd", args: []string{d.OVSDB()}, netns: d.Netns(), control: d.run("vswitchd.ctl")}
}

// central are the daemons of OVN that one machine of a cloud runs.
func (d *Daemons) central() []process {
	if !d.conf.Central {
		return nil
	}
	return []process{
		d.database("nb", "nb.db", filepath.Join(d.conf.SchemasOVN, "ovn-nb.ovsschema"), "nb.sock", d.conf.ListenNorthbound),
		d.database("sb", "sb.db", filepath.Join(d.conf.SchemasOVN, "ovn-sb.ovsschema"), "sb.sock", d.conf.ListenSouthbound),
		{
			name: "northd", program: "ovn-northd", control: d.run("northd.ctl"),
			args: []string{"--ovnnb-db=" + d.Northbound(), "--ovnsb-db=unix:" + d.run("sb.sock")},
		},
	}
}

func (d *Daemons) controller() process {
	return process{name: "controller", program: "ovn-controller", args: []string{d.OVSDB()}}
}

// database is an ovsdb-server of one database.
func (d *Daemons) database(name, file, schema, socket string, listen []string) process {
	args := []string{d.db(file), "--remote=punix:" + d.run(socket)}
	for _, l := range listen {
		args = append(args, "--remote="+l)
	}
	return process{
		name: name, program: "ovsdb-server", args: args, control: d.run(name + ".ctl"),
		prepare: func(ctx context.Context) error { return d.ensureDatabase(ctx, d.db(file), schema) },
	}
}

// ensureDatabase makes a database or brings it to the installed schema. It
// appears under its name only when complete.
func (d *Daemons) ensureDatabase(ctx context.Context, path, schema string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := path + ".new"
		if err := removeAll(fresh, filepath.Join(filepath.Dir(path), "."+filepath.Base(fresh)+".~lock~")); err != nil {
			return err
		}
		if _, err := d.command(ctx, "ovsdb-tool", "create", fresh, schema); err != nil {
			return err
		}
		return os.Rename(fresh, path)
	}
	if err != nil {
		return err
	}
	out, err := d.command(ctx, "ovsdb-tool", "needs-conversion", path, schema)
	if err != nil || strings.TrimSpace(string(out)) != "yes" {
		return err
	}
	_, err = d.command(ctx, "ovsdb-tool", "convert", path, schema)
	return err
}

func (d *Daemons) pidfile(p process) string { return d.run(p.name + ".pid") }

// find returns the running process of a daemon: the one that its pid file
// names and whose command line names that pid file.
func (d *Daemons) find(p process) (host.Process, bool) {
	b, err := os.ReadFile(d.pidfile(p))
	if err != nil {
		return host.Process{}, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return host.Process{}, false
	}
	proc, err := host.FindProcess(pid) // identity before the check: what is checked is what is signalled
	if err != nil {
		return host.Process{}, false
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return host.Process{}, false
	}
	argv := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	ours := filepath.Base(argv[0]) == p.program && slices.Contains(argv, "--pidfile="+d.pidfile(p))
	return proc, ours && proc.Alive()
}

// ensureProcess starts a daemon unless it runs and answers; it reports
// whether it did.
func (d *Daemons) ensureProcess(ctx context.Context, p process) (bool, error) {
	if proc, ok := d.find(p); ok {
		err := d.answers(ctx, p, proc.PID)
		if err == nil {
			return false, nil
		}
		if ctx.Err() != nil {
			return false, err
		}
		if err := proc.Stop(ctx, 2*time.Second); err != nil {
			return false, err
		}
	}
	if p.prepare != nil {
		if err := p.prepare(ctx); err != nil {
			return false, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	args := slices.Concat(p.args, []string{
		"--pidfile=" + d.pidfile(p), "--log-file=" + d.log(p.name+".log"), "--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off",
	})
	if p.control != "" {
		if err := removeAll(p.control); err != nil {
			return false, err
		}
		args = append(args, "--unixctl="+p.control)
	}
	// --detach returns when the daemon serves; the pid file is written by then.
	_, err := host.Run(ctx, host.Command{Path: p.program, Args: args, Env: d.env(), Netns: p.netns, Timeout: time.Minute})
	if err != nil {
		return false, fmt.Errorf("start %s: %w", p.name, err)
	}
	return true, nil
}

// answers asks a daemon for its version over its control socket.
func (d *Daemons) answers(ctx context.Context, p process, pid int) error {
	_, err := d.command(ctx, "ovs-appctl", "-t", d.controlSocket(p, pid), "version")
	return err
}

func (d *Daemons) controlSocket(p process, pid int) string {
	if p.control != "" {
		return p.control
	}
	return d.run(fmt.Sprintf("%s.%d.ctl", p.program, pid))
}

// stopProcess ends a daemon if it runs.
func (d *Daemons) stopProcess(ctx context.Context, p process) error {
	proc, ok := d.find(p)
	if !ok {
		return nil
	}
	if err := proc.Stop(ctx, 5*time.Second); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}

// maxLog bounds a daemon's log, in bytes; one older log is kept beside it.
const maxLog = 16 << 20

// rotateLogs renames logs that grew too long and has their daemons open new
// ones.
func (d *Daemons) rotateLogs(ctx context.Context) {
	for _, p := range d.processes() {
		path := d.log(p.name + ".log")
		if info, err := os.Stat(path); err != nil || info.Size() < maxLog {
			continue
		}
		proc, ok := d.find(p)
		err := os.Rename(path, path+".old")
		if err == nil && ok {
			_, err = d.command(ctx, "ovs-appctl", "-t", d.controlSocket(p, proc.PID), "vlog/reopen")
		}
		if err != nil {
			d.conf.Log.WarnContext(ctx, "network daemon's log not rotated", slog.String("daemon", p.name), slog.Any("error", err))
		}
	}
}
