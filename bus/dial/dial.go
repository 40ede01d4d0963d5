// Package dial opens the bus that a URL names.
//
//	inproc:                              inside this process
//	nats://user:password@host:4222       a NATS server or cluster; tls:// with TLS
//	nats-embedded:                       a NATS server in this process, for it alone
//	nats-embedded://user:password@0.0.0.0:4222?cluster=0.0.0.0:6222&route=host:6222
//	                                     the same for other processes, and as one of a cluster
//	amqp://user:password@host:5672/vhost RabbitMQ; amqps:// with TLS
//	amqp10://user:password@host:5672     a broker that speaks AMQP 1.0; amqp10s:// with TLS;
//	                                     ?direct= and ?topic= name its exchanges
//
// Several nodes of one cluster are separated by commas, each with its scheme.
package dial

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/amqp1"
	"github.com/tropocloud/tropo/bus/broker"
	"github.com/tropocloud/tropo/bus/inproc"
	"github.com/tropocloud/tropo/bus/nats"
	"github.com/tropocloud/tropo/bus/rabbitmq"
	"github.com/tropocloud/tropo/fault"
)

// Options are those that do not stand in the URL. The zero value will do.
type Options struct {
	broker.Options
	// TLS is of the client, for URLs with TLS; nil: the system's roots.
	TLS *tls.Config
	// ServerTLS is of an embedded server that listens, and of the routes
	// between such servers; nil: no TLS.
	ServerTLS *tls.Config
	// Admit, if not nil, lets others use an embedded server by their
	// certificates, with ServerTLS; its URL needs no password then. The bus
	// has a method Review() that asks it again about those connected.
	Admit nats.Admit
	// Limit, if not nil, bounds what those may do whom Admit lets in.
	Limit nats.Limit
	// Name is this process, unique in the cloud, as the broker shows it.
	Name string
}

// Open connects to the broker of address. It tries until ctx ends: then the
// error is fault.Unavailable. Close of the bus also stops an embedded server.
func Open(ctx context.Context, address string, o Options) (bus.Bus, error) {
	nodes, scheme, err := parse(address)
	if err != nil {
		return nil, err
	}
	first := nodes[0]
	var b *broker.Bus
	switch scheme {
	case "inproc":
		return inproc.New(inproc.Options{Workers: o.Workers, Queue: o.Queue, Fanouts: o.Fanouts, Log: o.Log}), nil
	case "nats-embedded":
		return embed(ctx, first, o)
	case "nats", "tls":
		b, err = nats.Open(ctx, nats.Options{Options: o.Options, URLs: texts(nodes), TLS: o.TLS, Name: o.Name})
	case "amqp", "amqps":
		b, err = rabbitmq.Open(ctx, rabbitmq.Options{Options: o.Options, URLs: texts(nodes), TLS: o.TLS, Name: o.Name})
	case "amqp10", "amqp10s":
		q := first.Query()
		for _, n := range nodes {
			n.RawQuery = ""
		}
		b, err = amqp1.Open(ctx, amqp1.Options{
			Options: o.Options, URLs: texts(nodes), TLS: o.TLS, Name: o.Name,
			Direct: q.Get("direct"), Topic: q.Get("topic"),
		})
	default:
		return nil, fmt.Errorf("bus: no bus is called %q: inproc, nats, tls, nats-embedded, amqp, amqps, amqp10, amqp10s", scheme)
	}
	if err != nil {
		// The cause may have an address, never a password.
		return nil, fault.Wrap(fault.Unavailable, err, "The message broker %s cannot be used.", first.Redacted())
	}
	return b, nil
}

// parse reads the nodes, which have one scheme.
func parse(address string) ([]*url.URL, string, error) {
	var nodes []*url.URL
	for text := range strings.SplitSeq(address, ",") {
		u, err := url.Parse(strings.TrimSpace(text))
		if err != nil {
			// The library's error has the whole text, passwords included.
			return nil, "", fmt.Errorf("bus: node %d of the address is no URL", len(nodes)+1)
		}
		if len(nodes) > 0 && u.Scheme != nodes[0].Scheme {
			return nil, "", fmt.Errorf("bus: the schemes %q and %q cannot be mixed", nodes[0].Scheme, u.Scheme)
		}
		local := u.Scheme == "inproc" || u.Scheme == "nats-embedded"
		if u.Host == "" && !local {
			return nil, "", fmt.Errorf("bus: %q names no host", u.Redacted())
		}
		if local && len(nodes) > 0 {
			return nil, "", fmt.Errorf("bus: %s: is one address alone", u.Scheme)
		}
		nodes = append(nodes, u)
	}
	return nodes, nodes[0].Scheme, nil
}

func texts(nodes []*url.URL) []string {
	list := make([]string, len(nodes))
	for i, n := range nodes {
		list[i] = n.String()
	}
	return list
}

// embedded is a bus with its server.
type embedded struct {
	*broker.Bus
	server *nats.Server
	log    *slog.Logger
}

// Close is bus.Bus.
func (e *embedded) Close() error {
	err := e.Bus.Close()
	e.server.Close()
	return err
}

// Review ends the connections to the server that Admit refuses by now.
func (e *embedded) Review() {
	if err := e.server.Review(); err != nil {
		e.log.Error("the embedded message broker", slog.Any("error", err))
	}
}

func embed(ctx context.Context, u *url.URL, o Options) (bus.Bus, error) {
	password, _ := u.User.Password()
	for key := range u.Query() {
		if key != "cluster" && key != "route" {
			return nil, fmt.Errorf("bus: nats-embedded knows no %q: cluster, route", key)
		}
	}
	s, err := nats.Embed(nats.ServerOptions{
		Name: o.Name, Listen: u.Host, Cluster: u.Query().Get("cluster"), Routes: u.Query()["route"],
		Username: u.User.Username(), Password: password, TLS: o.ServerTLS, Admit: o.Admit, Limit: o.Limit, Prefix: o.Prefix,
		Heartbeat: o.Heartbeat, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	b, err := nats.Open(ctx, nats.Options{Options: o.Options, Server: s, Name: cmp.Or(o.Name, "embedded")})
	if err != nil {
		s.Close()
		return nil, err
	}
	return &embedded{b, s, cmp.Or(o.Log, slog.Default())}, nil
}
