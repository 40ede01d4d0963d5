package dial_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/bustest"
	"github.com/tropocloud/tropo/bus/dial"
	"github.com/tropocloud/tropo/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	for _, url := range []string{"inproc:", "nats-embedded:"} {
		t.Run(url, func(t *testing.T) {
			bustest.Run(t, func(t *testing.T) func() bus.Bus {
				b, err := dial.Open(t.Context(), url, dial.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = b.Close() })
				if strings.HasPrefix(url, "inproc") {
					return func() bus.Bus { return b }
				}
				first := true
				return func() bus.Bus { // the suite closes connections; "close" needs one more
					if first {
						first = false
						return b
					}
					return shared{b}
				}
			})
		})
	}
}

// shared is another handle on a connection.
type shared struct{ bus.Bus }

func TestRefused(t *testing.T) {
	for url, want := range map[string]string{
		"":                                  `no bus is called ""|names no host`,
		"kafka://h:1":                       "no bus is called",
		"nats:":                             "names no host",
		"amqp://u:secret@h:1,nats://h":      "cannot be mixed",
		"inproc:,inproc:":                   "one address alone",
		"nats-embedded://127.0.0.1:0":       "username",
		"nats-embedded:?colour=red":         "colour",
		"nats-embedded://u:p@nohost":        "address",
		"amqp://u:secret@h:port":            "no URL",
		"nats-embedded://u:p@h:1?cluster=x": "address",
	} {
		b, err := dial.Open(t.Context(), url, dial.Options{})
		if err == nil {
			_ = b.Close()
			t.Errorf("%s: opened", url)
			continue
		}
		ok := false
		for w := range strings.SplitSeq(want, "|") {
			ok = ok || strings.Contains(err.Error(), w)
		}
		if !ok || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v; want %q, and no password", url, err, want)
		}
	}
}

func TestUnreachable(t *testing.T) {
	const address = "127.0.0.1:1" // no port that another process gets by chance
	for _, scheme := range []string{"nats", "amqp", "amqp10"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := dial.Open(ctx, scheme+"://u:secret@"+address, dial.Options{})
		cancel()
		if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", scheme, err)
		}
		var op *net.OpError
		if scheme == "amqp" && !errors.As(err, &op) {
			t.Errorf("%s: %v does not say why", scheme, err)
		}
	}
}

func TestConfig(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []dial.Config{{CAFile: file}, {CAFile: "/nowhere"}, {CertFile: file}, {CertFile: file, KeyFile: file}} {
		if _, err := c.Options("n", nil); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	o, err := dial.Config{Prefix: "p", Workers: 3, Silence: time.Second}.Options("n", nil)
	if err != nil || o.Name != "n" || o.Prefix != "p" || o.Workers != 3 || o.Silence != time.Second || o.TLS != nil {
		t.Errorf("%+v, %v", o, err)
	}
}
