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
	// exact restarts a process that runs with other arguments. quit is the
	// command that ends it then; none: SIGTERM.
	exact bool
	quit  []string
}

// processes lists the daemons in the order of their start.
func (d *Daemons) processes() []process {
	if d.conf.NoChassis {
		return d.centralProcesses()
	}
	list := []process{d.switchDB(), d.vswitchd()}
	return append(append(list, d.centralProcesses()...), d.controller())
}

func (d *Daemons) switchDB() process {
	return d.database("ovsdb", "conf.db", filepath.Join(d.conf.SchemasOVS, "vswitch.ovsschema"), "db.sock")
}

func (d *Daemons) vswitchd() process {
	return process{name: "vswitchd", program: "ovs-vswitchd", args: []string{d.OVSDB()}, netns: d.Netns(), control: d.run("vswitchd.ctl")}
}

func (d *Daemons) controller() process {
	return process{
		name: "controller", program: "ovn-controller", args: append([]string{d.OVSDB()}, d.tls()...), netns: d.conf.HostNetns, exact: true,
		// Else it takes the chassis out of the southbound database, and every
		// other machine its tunnels down.
		quit: []string{"exit", "--restart"},
	}
}

// database is an ovsdb-server of one database.
func (d *Daemons) database(name, file, schema, socket string) process {
	return process{
		name: name, program: "ovsdb-server", args: []string{d.db(file), "--remote=punix:" + d.run(socket)}, control: d.run(name + ".ctl"),
		prepare: func(ctx context.Context) error { return d.ensureDatabase(ctx, d.db(file), schema) },
	}
}

// ensureDatabase makes a database or brings it to the installed schema. It
// appears under its name only when complete.
func (d *Daemons) ensureDatabase(ctx context.Context, path, schema string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.replaceDatabase(ctx, path, func(fresh string) error {
			_, err := d.command(ctx, "ovsdb-tool", "create", fresh, schema)
			return err
		})
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
	proc, _, ok := d.look(p)
	return proc, ok
}

// look is find, with the process's command line.
func (d *Daemons) look(p process) (host.Process, []string, bool) {
	b, err := os.ReadFile(d.pidfile(p))
	if err != nil {
		return host.Process{}, nil, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return host.Process{}, nil, false
	}
	proc, err := host.FindProcess(pid) // identity before the check: what is checked is what is signalled
	if err != nil {
		return host.Process{}, nil, false
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return host.Process{}, nil, false
	}
	argv := strings.Split(string(bytes.TrimRight(cmdline, "\x00")), "\x00")
	ours := filepath.Base(argv[0]) == p.program && slices.Contains(argv, "--pidfile="+d.pidfile(p))
	return proc, argv, ours && proc.Alive()
}

// ensureProcess starts a daemon unless it runs and answers; it reports
// whether it did.
func (d *Daemons) ensureProcess(ctx context.Context, p process) (bool, error) {
	args := slices.Concat(p.args, []string{
		"--pidfile=" + d.pidfile(p), "--log-file=" + d.log(p.name+".log"), "--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off",
	})
	if p.control != "" {
		args = append(args, "--unixctl="+p.control)
	}
	if proc, argv, ok := d.look(p); ok {
		err := d.answers(ctx, p, proc.PID)
		same := !p.exact || slices.Equal(argv[1:], args)
		if err == nil && same {
			return false, nil
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err == nil && p.quit != nil {
			if _, err := d.control(ctx, d.controlSocket(p, proc.PID), p.quit[0], p.quit[1:]...); err != nil {
				return false, err
			}
			wait, cancel := context.WithTimeout(ctx, 2*time.Second)
			_ = proc.Wait(wait) // Stop tries harder
			cancel()
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
	if p.control != "" {
		if err := removeAll(p.control); err != nil {
			return false, err
		}
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
	_, err := d.control(ctx, d.controlSocket(p, pid), "version")
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
			_, err = d.control(ctx, d.controlSocket(p, proc.PID), "vlog/reopen")
		}
		if err != nil {
			d.conf.Log.WarnContext(ctx, "network daemon's log not rotated", slog.String("daemon", p.name), slog.Any("error", err))
		}
	}
}
