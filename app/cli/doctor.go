package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tropocloud/tropo/app"
	"github.com/tropocloud/tropo/doctor"
)

// exitCode is how a command ends that has said everything already.
type exitCode int

// Error implements error.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

func doctorCommand() *cobra.Command {
	var heal, asJSON bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is broken in the cloud, and with --fix heal it",
		Long: `Look for what another tool, a person or a fault broke: resources held by no
server, servers that nothing works on, ports and guests of nobody, image data
without an image, a dataplane that differs from the rows, and so on. It runs in
the process of the control node whose state folder is given, and asks every
host that gives a sign of life; what could not be asked is told, and taken for
neither whole nor broken. Without --fix nothing is changed. With it only what is
provably nobody's or can be made again is touched; for the rest the command is
printed that a person would run.

The exit code is 0 if nothing is broken, 1 if something is, and 2 if nothing was
found but not everything could be checked.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, _ := cmd.Flags().GetString("state")
			report, err := app.Doctor(cmd.Context(), dir, heal)
			if err != nil {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "tropo:", err)
				return exitCode(doctor.Incomplete)
			}
			write := report.WriteTable
			if asJSON {
				write = report.WriteJSON
			}
			if err := write(cmd.OutOrStdout()); err != nil {
				return err
			}
			if code := report.Code(); code != doctor.Clean {
				return exitCode(code)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&heal, "fix", false, "heal what is safe to heal")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}
