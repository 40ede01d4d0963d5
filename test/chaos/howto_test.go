package chaos

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// block is a fenced shell block of a page: ```sh on=MACHINE prints=VARIABLE
type block struct {
	on, prints, text string
	line             int
}

// readHowto returns the blocks of a page of docs/howto.
func readHowto(t *testing.T, page string) []block {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "howto", page))
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	var open *block
	for i, l := range strings.Split(string(b), "\n") {
		switch {
		case open == nil && strings.HasPrefix(l, "```sh"):
			open = &block{line: i + 1}
			for _, word := range strings.Fields(l)[1:] {
				name, value, _ := strings.Cut(word, "=")
				switch name {
				case "on":
					open.on = value
				case "prints":
					open.prints = value
				}
			}
			if open.on == "" {
				t.Fatalf("%s:%d: the block does not say where it runs", page, i+1)
			}
		case open == nil && strings.HasPrefix(l, "```"):
			t.Fatalf("%s:%d: a block that no test runs", page, i+1)
		case open != nil && l == "```":
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += l + "\n"
		}
	}
	if open != nil || len(out) == 0 {
		t.Fatalf("%s: blocks are missing or not closed", page)
	}
	return out
}

// reader is somebody who follows a page. What the page says may be replaced is
// replaced: addresses and folders.
type reader struct {
	c       *cloud
	page    string
	vars    []string            // what blocks printed, as VARIABLE=value
	exports map[string][]string // by machine, as in a shell that stays open
	// before is done when a block with that text is reached.
	before map[string]func(context.Context) error
}

// follow runs the blocks of the page.
func (r *reader) follow(ctx context.Context, t *testing.T) {
	t.Helper()
	r.exports = map[string][]string{}
	for _, b := range readHowto(t, r.page) {
		for text, do := range r.before {
			if !strings.Contains(b.text, text) {
				continue
			}
			if err := do(ctx); err != nil {
				t.Fatalf("%s:%d: before the block: %v", r.page, b.line, err)
			}
			delete(r.before, text)
		}
		out, err := r.run(ctx, b)
		t.Logf("%s:%d on %s:\n%s", r.page, b.line, b.on, out)
		if err != nil {
			t.Fatalf("%s:%d: %v", r.page, b.line, err)
		}
		if b.prints != "" {
			r.vars = append(r.vars, b.prints+"="+strings.TrimSpace(out))
		}
	}
	for text := range r.before {
		t.Errorf("%s: no block has %q", r.page, text)
	}
}

func (r *reader) run(ctx context.Context, b block) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	m := r.c.machine(b.on)
	for _, d := range []string{"etc", "units"} {
		if err := os.MkdirAll(filepath.Join(m.dir, d), 0o700); err != nil {
			return "", err
		}
	}
	replace := strings.NewReplacer("10.0.0.", "10.89.0.", "10.0.1.", "10.89.1.",
		"/var/lib/tropo", filepath.Join(m.dir, "state"), "/etc/tropo", filepath.Join(m.dir, "etc"), "/etc/systemd/system", filepath.Join(m.dir, "units"))
	text := replace.Replace(b.text)
	script := strings.Join(append([]string{"set -euo pipefail"}, r.exports[b.on]...), "\n") + "\n" + text
	for l := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(l, "export ") {
			r.exports[b.on] = append(r.exports[b.on], l)
		}
	}
	env := append([]string{"PATH=" + filepath.Join(m.dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin"}, r.vars...)
	return m.run(ctx, env, "/bin/bash", "-c", script)
}

// systemctl stands for systemd on a machine: it runs the unit tropo as its
// file says, and nothing else.
const systemctl = `#!/bin/sh
# Asks the test to do what systemd would.
cd %s/systemctl
echo "$*" >$$.new && mv $$.new $$.in
while [ ! -e $$.out ]; do sleep 0.1; done
cat $$.out >&2
[ ! -s $$.out ]
`

// equip puts tropo and systemctl into the PATH of a machine.
func (n *node) equip(ctx context.Context) error {
	for _, d := range []string{"bin", "systemctl"} {
		if err := os.MkdirAll(filepath.Join(n.dir, d), 0o700); err != nil {
			return err
		}
	}
	if err := os.Symlink(n.site.tropo, filepath.Join(n.dir, "bin", "tropo")); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.dir, "bin", "systemctl"), fmt.Appendf(nil, systemctl, n.dir), 0o700); err != nil { //nolint:gosec // a program
		return err
	}
	go n.serveSystemctl(ctx)
	return nil
}

func (n *node) serveSystemctl(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		asked, err := filepath.Glob(filepath.Join(n.dir, "systemctl", "*.in"))
		if err != nil {
			return
		}
		for _, in := range asked {
			b, err := os.ReadFile(in)
			if err != nil {
				continue
			}
			answer := ""
			if err := n.unit(ctx, strings.TrimSpace(string(b))); err != nil {
				answer = err.Error() + "\n"
			}
			_ = os.Remove(in)
			out := strings.TrimSuffix(in, ".in")
			_ = os.WriteFile(out+".tmp", []byte(answer), 0o600) // the block times out then
			_ = os.Rename(out+".tmp", out+".out")
		}
	}
}

// unit does what a systemctl command asks of the unit tropo.
func (n *node) unit(ctx context.Context, command string) error {
	stop := func() error {
		if n.proc == nil || n.proc.ended() {
			return nil
		}
		return n.proc.stop(30 * time.Second)
	}
	switch command {
	case "disable --now tropo", "stop tropo":
		return stop()
	case "enable --now tropo", "start tropo", "restart tropo":
		if err := stop(); err != nil {
			return err
		}
		var err error
		if file := filepath.Join(n.dir, "units", "tropo.service"); exists(file) {
			if n.argv, err = execStart(file); err != nil {
				return err
			}
		}
		return n.up()
	}
	return fmt.Errorf("systemctl %s: this systemd does not know that", command)
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

// execStart reads the command of a unit.
func execStart(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if c, ok := strings.CutPrefix(s.Text(), "ExecStart="); ok {
			return strings.Fields(c), nil
		}
	}
	return nil, fmt.Errorf("%s has no ExecStart", file)
}
