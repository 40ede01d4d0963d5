// Package cli is tropo's command line.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tropocloud/tropo/app"
	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/obs"
)

// Main runs the command line and returns the exit code.
func Main(args []string, out, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use:           "tropo",
		Short:         "OpenStack in one binary",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       Version(),
	}
	root.PersistentFlags().String("state", ".tropo", "folder that holds everything the cloud keeps")
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetArgs(args)
	root.AddCommand(upCommand(), joinCommand(), downCommand(), nodeCommand(), doctorCommand(), traceCommand(), identityCommand(), configCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			return int(code)
		}
		msg := err.Error()
		if f, ok := fault.As(err); ok && f.Err == nil {
			msg = f.Message
		}
		_, _ = fmt.Fprintln(errOut, "tropo:", msg)
		return 1
	}
	return 0
}

// Version is the module's version, or the commit it was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return info.Main.Version
}

// running are the flags of the commands that run a machine's part of a cloud.
type running struct {
	o                                     app.Options
	files                                 []string
	set                                   map[string]string
	level, format, logFile, address, name string
	roles                                 []string
}

func (r *running) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&r.o.Listen, "listen", nil, "address of all APIs (default "+app.DefaultListen+", or port 5000 of --address), or SERVICE=ADDRESS for one service; may be repeated")
	f.StringArrayVar(&r.files, "config", nil, "configuration file or folder; may be repeated")
	f.StringToStringVar(&r.set, "set", nil, "one option: GROUP.OPTION=VALUE; may be repeated")
	f.StringVar(&r.address, "address", "", "this machine's address for the cloud's other machines ([node] management_address)")
	f.StringSliceVar(&r.roles, "roles", nil, "what this machine does: control, compute, network, storage ([node] roles; default all)")
	f.StringVar(&r.name, "name", "", "name of this machine within the cloud (host; default: its host name)")
	f.StringVar(&r.level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&r.format, "log-format", "text", "text or json")
	f.StringVar(&r.logFile, "log-file", "", "log there (default STATE/log/tropo.log; - is standard error)")
}

// load reads the configuration; flags come last.
func (r *running) load(cmd *cobra.Command) error {
	r.o.StateDir, _ = cmd.Flags().GetString("state")
	if err := config.Load(&r.o.Config, config.Sources{
		Files: r.files, Env: config.Environ(), Overrides: r.set,
		Warn: func(m string) { _, _ = fmt.Fprintln(cmd.ErrOrStderr(), "tropo: warning:", m) },
	}); err != nil {
		return err
	}
	c := &r.o.Config
	if r.name != "" {
		c.Host = r.name
	}
	if r.address != "" {
		c.Node.ManagementAddress = r.address
	}
	if len(r.roles) > 0 {
		c.Node.Roles = r.roles
	}
	return nil
}

// run is the life of the process.
func (r *running) run(cmd *cobra.Command) error {
	begin := time.Now()
	w, closeLog, err := openLog(r.o.StateDir, r.logFile, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeLog()
	r.o.Log = obs.Logger(w, r.level, r.format)
	r.o.Version = Version()
	r.o.Progress = func(s string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), " ", s) }
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "tropo %s starts in %s\n", r.o.Version, r.o.StateDir)
	return app.Up(cmd.Context(), r.o, func(s *app.System) {
		took := time.Since(begin).Seconds()
		if !s.Serves() {
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ready after %.1f s\n", took)
			return
		}
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ready after %.1f s: identity at %s/v3\n  export OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=tropo\n",
			took, s.Endpoint("identity"), s.StatePath("clouds.yaml"))
	})
}

func upCommand() *cobra.Command {
	r := &running{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a cloud in this process until a signal ends it",
		Long: `Run a cloud in this process: every service, the agents of this host, and the
Open vSwitch and OVN daemons that they need. Everything is kept in the state
folder. Guests and the daemons of the network outlive the process; the next
"tropo up" finds them again, and "tropo down" ends them.

With --address other machines can become part of the cloud by "tropo join";
on a machine that has joined, "tropo up" runs its part.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.o.AdminPassword == "" {
				r.o.AdminPassword = os.Getenv("TROPO_ADMIN_PASSWORD")
			}
			if err := r.load(cmd); err != nil {
				return err
			}
			// Databases, consoles and sockets are made by libraries and daemons
			// that choose no mode: none of them is for others to read.
			syscall.Umask(0o077)
			return r.run(cmd)
		},
	}
	r.flags(c)
	c.Flags().StringVar(&r.o.AdminPassword, "admin-password", "", "password of admin in a new cloud (default: TROPO_ADMIN_PASSWORD, or a random one)")
	return c
}

func openLog(stateDir, name string, errOut io.Writer) (io.Writer, func(), error) {
	if name == "-" {
		return errOut, func() {}, nil
	}
	if name == "" {
		s, err := app.OpenState(stateDir)
		if err != nil {
			return nil, nil, err
		}
		name = s.Path("log", "tropo.log")
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return f, func() { _ = f.Close() }, nil
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End a cloud: its process, guests, network daemons, links and namespaces",
		Long: `End everything that "tropo up" started for this state folder. What the cloud
keeps (databases, images, disks of servers) stays in the folder, and the next
"tropo up" starts the servers again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, _ := cmd.Flags().GetString("state")
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
			defer cancel()
			return app.Down(ctx, dir, func(s string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), " ", s) })
		},
	}
}

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Print what can be configured"}
	c.AddCommand(
		&cobra.Command{Use: "sample", Short: "Print a configuration file with every option and its default", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return config.WriteSample(cmd.OutOrStdout(), &app.Config{})
		}},
		&cobra.Command{Use: "reference", Short: "Print the reference of all options as Markdown", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			return config.WriteReference(cmd.OutOrStdout(), &app.Config{})
		}},
	)
	return c
}

var errNoServer = errors.New("no such server")
