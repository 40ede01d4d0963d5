package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tropocloud/tropo/app"
	"github.com/tropocloud/tropo/config"
	identitymanager "github.com/tropocloud/tropo/identity/manager"
)

// identityCommand holds what keystone-manage does for Keystone. Every command
// may run while the cloud runs, and may be repeated.
func identityCommand() *cobra.Command {
	c := &cobra.Command{Use: "identity", Short: "Look after the identity service's keys and first users"}
	var target string
	add := func(use, short string, f func(ctx context.Context, m *identitymanager.Manager, bootstrap func() error) error) {
		var files []string
		sub := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			dir, _ := cmd.Flags().GetString("state")
			var conf app.Config
			if err := config.Load(&conf, config.Sources{Files: files, Env: config.Environ()}); err != nil {
				return err
			}
			if err := app.Identity(cmd.Context(), dir, conf, func(m *identitymanager.Manager, bootstrap func() error) error {
				return f(cmd.Context(), m, bootstrap)
			}); err != nil {
				return err
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "done")
			return err
		}}
		sub.Flags().StringArrayVar(&files, "config", nil, "configuration file or folder; may be repeated")
		c.AddCommand(sub)
	}
	add("bootstrap", "Make the default domain, roles, the admin and the service users, or mend them", func(_ context.Context, _ *identitymanager.Manager, bootstrap func() error) error {
		return bootstrap()
	})
	add("fernet-rotate", "Make the staged token key the primary, stage a new one, drop the oldest", func(ctx context.Context, m *identitymanager.Manager, _ func() error) error {
		return m.RotateTokenKeys(ctx)
	})
	add("credential-rotate", "Make a new key for stored credentials", func(ctx context.Context, m *identitymanager.Manager, _ func() error) error {
		return m.RotateCredentialKeys(ctx)
	})
	add("credential-migrate", "Encrypt stored credentials with the newest key", func(ctx context.Context, m *identitymanager.Manager, _ func() error) error {
		return m.MigrateCredentials(ctx)
	})
	add("receipt-rotate", "Make the staged key of authentication receipts the primary, where they have keys of their own", func(ctx context.Context, m *identitymanager.Manager, _ func() error) error {
		return m.RotateReceiptKeys(ctx)
	})
	add("create-jws-keypair", "Make a key pair for JWS tokens ([token] provider = jws)", func(ctx context.Context, m *identitymanager.Manager, _ func() error) error {
		return m.CreateJWSKeys(ctx, target)
	})
	pair, _, _ := c.Find([]string{"create-jws-keypair"}) // just added
	pair.Flags().StringVar(&target, "target-directory", "", "folder for private.pem and public.pem; the configured folders when empty")
	return c
}
