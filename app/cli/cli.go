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
	root.AddCommand(upCommand(), downCommand(), traceCommand(), identityCommand(), configCommand())
	if err := root.ExecuteContext(ctx); err != nil {
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

func upCommand() *cobra.Command {
	var o app.Options
	var files []string
	var set map[string]string
	var level, format, logFile string
	c := &cobra.Command{
		Use:   "up",
		Short: "Run a cloud in this process until a signal ends it",
		Long: `Run a cloud in this process: every service, the agents of this host, and the
Open vSwitch and OVN daemons that they need. Everything is kept in the state
folder. Guests and the daemons of the network outlive the process; the next
"tropo up" finds them again, and "tropo down" ends them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			begin := time.Now()
			o.StateDir, _ = cmd.Flags().GetString("state")
			if o.AdminPassword == "" {
				o.AdminPassword = os.Getenv("TROPO_ADMIN_PASSWORD")
			}
			if err := config.Load(&o.Config, config.Sources{
				Files: files, Env: config.Environ(), Overrides: set,
				Warn: func(m string) { _, _ = fmt.Fprintln(cmd.ErrOrStderr(), "tropo: warning:", m) },
			}); err != nil {
				return err
			}
			// Databases, consoles and sockets are made by libraries and daemons
			// that choose no mode: none of them is for others to read.
			syscall.Umask(0o077)
			w, closeLog, err := openLog(o.StateDir, logFile, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer closeLog()
			o.Log = obs.Logger(w, level, format)
			o.Version = Version()
			o.Progress = func(s string) { _, _ = fmt.Fprintln(cmd.OutOrStdout(), " ", s) }
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "tropo %s starts in %s\n", o.Version, o.StateDir)
			return app.Up(cmd.Context(), o, func(s *app.System) {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "ready after %.1f s: identity at %s/v3\n  export OS_CLIENT_CONFIG_FILE=%s OS_CLOUD=tropo\n",
					time.Since(begin).Seconds(), s.Endpoint("identity"), s.StatePath("clouds.yaml"))
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.Listen, "listen", nil, "address of all APIs (default "+app.DefaultListen+"), or SERVICE=ADDRESS for one service; may be repeated")
	f.StringArrayVar(&files, "config", nil, "configuration file or folder; may be repeated")
	f.StringToStringVar(&set, "set", nil, "one option: GROUP.OPTION=VALUE; may be repeated")
	f.StringVar(&o.AdminPassword, "admin-password", "", "password of admin in a new cloud (default: TROPO_ADMIN_PASSWORD, or a random one)")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&format, "log-format", "text", "text or json")
	f.StringVar(&logFile, "log-file", "", "log there (default STATE/log/tropo.log; - is standard error)")
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
