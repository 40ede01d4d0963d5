package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/tropocloud/tropo/bus/dial"
	"github.com/tropocloud/tropo/bus/nats"
	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/network"
)

// connect opens the bus that the configuration names; without one, that of
// this process alone, or of the control nodes in a cloud of many.
func (s *System) connect() error {
	o, err := s.o.Config.Bus.Options(s.host, s.log)
	if err != nil {
		return err
	}
	address := s.o.Config.Bus.URL
	if address == "" {
		if address = s.ownBroker(); address == "" {
			address = "inproc:"
		} else {
			o.TLS = controlTLS(s.identity)
		}
	}
	if s.nodes != nil && strings.HasPrefix(address, "nats-embedded:") {
		o.ServerTLS = s.identity.Server(true, nil)
		o.Admit = func(c *x509.Certificate) (bool, error) {
			n, err := s.nodes.Admit(c)
			return n.Has(cluster.Control), err
		}
		o.Limit = s.limits
	}
	waits := time.AfterFunc(5*time.Second, func() {
		s.say("waits for the message broker: no control node answers")
		s.log.Warn("waits for the message broker")
	})
	defer waits.Stop()
	if s.bus, err = dial.Open(s.ctx, address, o); err != nil {
		return fmt.Errorf("connect to the bus: %w", err)
	}
	s.onStop(s.bus.Close)
	if k, ok := s.bus.(interface{ Review() }); ok && s.nodes != nil {
		s.reviewBroker(k.Review)
	}
	return nil
}

// limits are what a node may do at the broker: one that is no control node
// serves its own agent and calls the managers.
func (s *System) limits(c *x509.Certificate) *nats.Limits {
	l := &nats.Limits{Host: c.Subject.CommonName, Serves: []string{compute.TopicAgent}, Calls: []string{compute.TopicManager, network.TopicManager}}
	n, err := s.nodes.Admit(c)
	switch {
	case err != nil:
		return &nats.Limits{Host: l.Host}
	case n.Has(cluster.Control):
		return nil
	}
	return l
}

// ownBroker is the URL of the broker that is embedded in the control nodes:
// where it is to listen on a control node, where it is on another; "" where
// the cloud has one machine.
func (s *System) ownBroker() string {
	if s.member.alone() {
		return ""
	}
	at := func(n cluster.Node, port int) string {
		return net.JoinHostPort(n.Management.String(), strconv.Itoa(port))
	}
	if s.nodes == nil {
		var list []string
		for _, n := range s.member.Controls() {
			list = append(list, "tls://"+at(n, cluster.BusPort))
		}
		return strings.Join(list, ",")
	}
	q := url.Values{"cluster": {at(s.member.Node, cluster.RoutePort)}}
	for _, n := range s.nodes.Controls() {
		if n.Name != s.member.Name {
			q.Add("route", at(n, cluster.RoutePort))
		}
	}
	return "nats-embedded://" + at(s.member.Node, cluster.BusPort) + "?" + q.Encode()
}

// reviewBroker looks at who is connected after each look at the nodes.
func (s *System) reviewBroker(review func()) {
	due := make(chan struct{}, 1)
	s.nodes.Watch(func() {
		select {
		case due <- struct{}{}:
		default:
		}
	})
	s.Go("broker review", func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-due:
				review()
			}
		}
	})
}
