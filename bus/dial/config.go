package dial

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Config are the options of the bus in a configuration file, named as those of
// oslo.messaging where it has them.
type Config struct {
	URL       string        `config:"transport_url" default:"inproc:" secret:"true" help:"The bus between the parts of a service: inproc:, nats://…, nats-embedded:…, amqp://…, amqp10://…; several nodes separated by commas."`
	NodeURL   string        `config:"node_transport_url" secret:"true" help:"What nodes without the role control are told to use instead of transport_url, with credentials of their own; empty: the same."`
	Prefix    string        `config:"name_prefix" default:"tropo" help:"Begins all names at the broker; clouds that share one differ in it."`
	Workers   int           `config:"executor_thread_pool_size" default:"64" min:"1" help:"Messages that one server handles at the same time."`
	Queue     int           `config:"queue" default:"1024" min:"1" help:"Calls and casts that wait in one server; senders of more wait."`
	Fanouts   int           `config:"fanout_queue" default:"1024" min:"1" help:"Fan-outs and events that wait in one receiver; more are dropped and counted."`
	Patience  time.Duration `config:"connection_patience" default:"10" help:"How long a message waits for a lost connection to come back before the sender gets an error."`
	Silence   time.Duration `config:"server_silence" default:"5" help:"How long a caller believes in a server of which nothing is heard."`
	Discover  time.Duration `config:"server_discovery" default:"0.5" help:"How long a server may take to say that it is there, with AMQP 1.0."`
	Heartbeat time.Duration `config:"heartbeat_interval" default:"0" help:"How often a silent connection is probed; after two to three of them it is lost. 0: every 1.5 seconds with NATS, 10 with others."`
	CAFile    string        `config:"ssl_ca_file" help:"Certificates that sign the broker's (and with an embedded one its clients' and peers'); empty: the system's."`
	CertFile  string        `config:"ssl_cert_file" help:"Our certificate: shown to the broker, and by an embedded one."`
	KeyFile   string        `config:"ssl_key_file" help:"The key of ssl_cert_file."`
}

// Options makes Options of c. name is this process; log may be nil.
func (c Config) Options(name string, log *slog.Logger) (Options, error) {
	o := Options{Name: name}
	o.Prefix, o.Workers, o.Queue, o.Fanouts = c.Prefix, c.Workers, c.Queue, c.Fanouts
	o.Patience, o.Silence, o.Discover, o.Heartbeat, o.Log = c.Patience, c.Silence, c.Discover, c.Heartbeat, log
	if c.CAFile == "" && c.CertFile == "" && c.KeyFile == "" {
		return o, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return o, fmt.Errorf("bus: ssl_ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return o, fmt.Errorf("bus: ssl_ca_file %s has no certificate", c.CAFile)
		}
		t.ClientCAs = t.RootCAs
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return o, errors.New("bus: ssl_cert_file and ssl_key_file go together")
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return o, fmt.Errorf("bus: ssl_cert_file: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
		o.ServerTLS = t.Clone()
		if c.CAFile != "" {
			o.ServerTLS.ClientAuth = tls.RequireAndVerifyClientCert
		}
	}
	o.TLS = t
	return o, nil
}
