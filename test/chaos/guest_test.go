package chaos

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// makeKey makes a key pair for guests.
func (t *tenant) makeKey(ctx context.Context) error {
	t.key = filepath.Join(t.c.dir, "key")
	if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "chaos", "-f", t.key).CombinedOutput(); err != nil {
		return fmt.Errorf("ssh-keygen: %w: %s", err, out)
	}
	public, err := os.ReadFile(t.key + ".pub")
	if err != nil {
		return err
	}
	return t.c.create(ctx, computePath+"/os-keypairs", m{"keypair": m{"name": "k", "public_key": strings.TrimSpace(string(public))}}, nil)
}

// ssh runs a command in a guest, from outside through its floating IP.
func (t *tenant) ssh(ctx context.Context, w *witness, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := t.c.outside.run(ctx, nil, "/usr/bin/ssh", "-i", t.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=30", "-o", "BatchMode=yes", "cirros@"+w.public.String(), command)
	return strings.TrimSpace(out), err
}

// remember gives the guest something to keep on its disk, and notes which
// boot of it this is.
func (t *tenant) remember(ctx context.Context, w *witness) error {
	return until(ctx, 10*time.Minute, func(ctx context.Context) error {
		out, err := t.ssh(ctx, w, "echo kept by "+w.name+" > kept && sync && cat /proc/sys/kernel/random/boot_id")
		w.boot = out
		return err
	})
}

// recall checks that the guest is still the same, and has what it was given.
func (t *tenant) recall(ctx context.Context, w *witness) error {
	var out string
	err := until(ctx, 3*time.Minute, func(ctx context.Context) (err error) {
		out, err = t.ssh(ctx, w, "cat kept /proc/sys/kernel/random/boot_id")
		return err
	})
	if err != nil {
		return err
	}
	if want := "kept by " + w.name + "\n" + w.boot; out != want {
		return fmt.Errorf("the guest %s has %q, want %q: it lost its disk, or was started anew", w.name, out, want)
	}
	return nil
}

// reach lets one guest ping another by its fixed address.
func (t *tenant) reach(ctx context.Context, from, to *witness) error {
	return until(ctx, 3*time.Minute, func(ctx context.Context) error {
		_, err := t.ssh(ctx, from, "ping -c 1 -W 2 "+to.fixed.String())
		return err
	})
}
