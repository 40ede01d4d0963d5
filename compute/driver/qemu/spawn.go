package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/tropocloud/tropo/compute/driver"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/lib/qmp"
)

// Spawn implements driver.Driver.
func (d *QEMU) Spawn(ctx context.Context, s driver.Spec) error {
	if err := s.Validate(); err != nil {
		return err
	}
	g, ctx, done, err := d.hold(ctx, s.ID, false)
	if err != nil {
		return err
	}
	defer done()
	if d.process(g) != nil {
		return d.goOn(ctx, g)
	}
	def, err := d.define(ctx, g, s)
	if err != nil {
		return err
	}
	if err := d.makeDisks(ctx, g, def, s.ConfigDrive); err != nil {
		return internal(err, "The server's disks could not be made.")
	}
	return d.start(ctx, g, def)
}

// define writes the definition before anything else exists, so that whatever a
// crash leaves can be found and destroyed. A second Spawn keeps the slots of
// the first.
func (d *QEMU) define(ctx context.Context, g *guest, s driver.Spec) (*definition, error) {
	if err := os.MkdirAll(g.dir, 0o700); err != nil {
		return nil, internal(err, "The server's directory could not be made.")
	}
	def, err := newDefinition(s)
	if err != nil {
		return nil, err
	}
	if def.Base, def.BaseFormat, err = d.base(ctx, s.Image); err != nil {
		return nil, internal(err, "The image could not be prepared.")
	}
	return def, g.store(def)
}

// goOn lets a process run that was started but not yet let go.
func (d *QEMU) goOn(ctx context.Context, g *guest) error {
	m, err := d.connect(ctx, g)
	if err != nil {
		return internal(err, "The server could not be started.")
	}
	status, err := runState(ctx, m)
	if err == nil && status == "prelaunch" {
		err = command(ctx, m, "cont", nil, nil)
	}
	if err != nil {
		return internal(err, "The server could not be started.")
	}
	return nil
}

// start plugs the interfaces and runs the guest from its definition; saved
// memory is left alone.
func (d *QEMU) start(ctx context.Context, g *guest, def *definition) error {
	m, err := d.launch(ctx, g, def, false)
	if err == nil {
		err = command(ctx, m, "cont", nil, nil)
	}
	if err != nil {
		d.abort(ctx, g)
		return internal(err, "The server could not be started.")
	}
	return nil
}

// abort ends a process whose start failed, even when the call was cancelled.
func (d *QEMU) abort(ctx context.Context, g *guest) {
	if err := d.kill(context.WithoutCancel(ctx), g); err != nil {
		d.log.Error("half-started guest could not be ended", slog.String("server", g.id), slog.Any("error", err))
	}
}

// launch starts the process, stopped before its first instruction, and returns
// the connection to it.
func (d *QEMU) launch(ctx context.Context, g *guest, def *definition, incoming bool) (*qmp.Client, error) {
	for _, v := range def.Spec.VIFs {
		if err := d.plugger.Plug(ctx, g.id, v); err != nil {
			return nil, err
		}
	}
	p, err := d.exec(g, commandLine(def, launch{dir: g.dir, machine: d.machine, incoming: incoming}))
	if err != nil {
		return nil, err
	}
	d.adopt(g, p)
	ctx, cancel := context.WithTimeout(ctx, 2*qmpTimeout)
	defer cancel()
	m, err := d.connect(ctx, g)
	if err != nil {
		return nil, fmt.Errorf("%w (qemu: %s)", err, g.lastLog())
	}
	d.emit(g.id, driver.EventStarted, now())
	return m, nil
}

// exec starts QEMU in a session of its own: it outlives this process and gets
// none of its signals.
func (d *QEMU) exec(g *guest, args []string) (*process, error) {
	log, err := os.OpenFile(g.path(logFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for _, name := range []string{pidFile, vncSocket} { // of the process before
		if err := os.Remove(g.path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	var inherited []*os.File
	for _, name := range []string{qmpSocket, serialSocket} {
		l, err := driver.ListenUnix(g.path(name))
		if err != nil {
			return nil, err
		}
		defer l.Close()
		f, err := l.File()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		inherited = append(inherited, f)
	}
	argv := append([]string{d.conf.Binary}, args...)
	if d.conf.Netns != "" {
		argv = append([]string{"ip", "netns", "exec", d.conf.Netns}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = g.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"} // no secrets of ours
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = inherited
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p, err := openProcess(cmd.Process.Pid)
	if err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	p.child = cmd
	return p, nil
}

// lastLog returns the end of what QEMU printed, for the operator.
func (g *guest) lastLog() string {
	f, err := os.Open(g.path(logFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 2000))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// stopped refuses what needs a guest without process.
func (d *QEMU) stopped(g *guest) error {
	if d.process(g) != nil {
		return fault.Conflictf("The server must be powered off first.")
	}
	return nil
}
