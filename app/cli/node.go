package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tropocloud/tropo/app"
	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/cluster/client"
)

// aliveFor is how long after its last heartbeat a node counts as up.
const aliveFor = 20 * time.Second

func joinCommand() *cobra.Command {
	r := &running{}
	var token, service, serviceLink, providerLink, storage string
	var enrolOnly bool
	c := &cobra.Command{
		Use:   "join https://CONTROL:5443 --token TOKEN --roles ROLES",
		Short: "Make this machine part of a cloud, and run its part until a signal ends it",
		Long: `Make this machine part of the cloud of a control node, and run its part. The
token is what "tropo node token" printed on a control node; the environment
variable TROPO_JOIN_TOKEN takes it too. To join again changes nothing; "tropo
up" with the same state folder runs the machine's part later.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if token == "" {
				token = os.Getenv("TROPO_JOIN_TOKEN")
			}
			if err := r.load(cmd); err != nil {
				return err
			}
			if len(r.roles) == 0 {
				return errors.New("say what this machine is to do: --roles compute,network for example")
			}
			n := &r.o.Config.Node
			for _, f := range []struct {
				to   *string
				with string
			}{{&n.ServiceAddress, service}, {&n.ServiceInterface, serviceLink}, {&n.ProviderInterface, providerLink}, {&n.StorageAddress, storage}} {
				if f.with != "" {
					*f.to = f.with
				}
			}
			syscall.Umask(0o077)
			err := app.Join(cmd.Context(), app.JoinOptions{StateDir: r.o.StateDir, Control: args[0], Token: token, Config: r.o.Config})
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.OutOrStdout(), "this machine is part of the cloud at %s\n", args[0])
			if enrolOnly {
				return nil
			}
			return r.run(cmd)
		},
	}
	r.flags(c)
	f := c.Flags()
	f.StringVar(&token, "token", "", "join token (default: TROPO_JOIN_TOKEN)")
	f.StringVar(&service, "service-address", "", "address of the tunnels of guests' networks (default --address)")
	f.StringVar(&serviceLink, "service-interface", "", "link for the tunnels that the cloud may take for itself")
	f.StringVar(&providerLink, "provider-interface", "", "link to the outside that the cloud may take for itself")
	f.StringVar(&storage, "storage-address", "", "address for image and volume data (default --address)")
	f.BoolVar(&enrolOnly, "enrol-only", false, "join, and leave running to a later tropo up")
	return c
}

// nodeCommand looks after the machines of a cloud; it talks to the process of
// the control node whose state folder is given.
func nodeCommand() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Look after the machines of a cloud, on a control node"}
	c.AddCommand(nodeTokenCommand(), nodeListCommand(), &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a machine from the cloud: nobody believes it any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := nodes(cmd)
			if err != nil {
				return err
			}
			return n.Remove(cmd.Context(), args[0])
		},
	})
	return c
}

func nodes(cmd *cobra.Command) (*client.Client, error) {
	dir, _ := cmd.Flags().GetString("state")
	socket, err := app.AdminSocket(dir)
	if err != nil {
		return nil, err
	}
	return client.Local(socket), nil
}

func nodeTokenCommand() *cobra.Command {
	var roles []string
	var life time.Duration
	var uses int
	c := &cobra.Command{
		Use:   "token --roles ROLES",
		Short: "Print a token with which a machine can join",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(roles) == 0 {
				return errors.New("say for which roles the token is: --roles compute,network for example")
			}
			parsed, err := cluster.ParseRoles(roles)
			if err != nil {
				return err
			}
			n, err := nodes(cmd)
			if err != nil {
				return err
			}
			text, err := n.Token(cmd.Context(), parsed, uses, life)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringSliceVar(&roles, "roles", nil, "roles that a machine may take: control, compute, network, storage")
	c.Flags().DurationVar(&life, "ttl", cluster.DefaultTokenLife, "how long it is valid")
	c.Flags().IntVar(&uses, "uses", 1, "how many machines may join by it")
	return c
}

func nodeListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Print the machines of the cloud",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := nodes(cmd)
			if err != nil {
				return err
			}
			list, err := c.Nodes(cmd.Context())
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(w, "NAME\tSTATE\tROLES\tADDRESS\tSEEN\tVERSION")
			for _, n := range list {
				roles := make([]string, len(n.Roles))
				for i, r := range n.Roles {
					roles[i] = string(r)
				}
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, nodeState(n), strings.Join(roles, ","), n.Management, n.Seen.UTC().Format(time.RFC3339), n.Version)
			}
			return w.Flush()
		},
	}
}

func nodeState(n cluster.Node) string {
	switch {
	case n.Revoked:
		return "removed"
	case time.Since(n.Seen) > aliveFor:
		return "down"
	}
	return "up"
}
