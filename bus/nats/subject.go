package nats

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/bus/broker"
)

// subject is where messages to a go.
func (l *link) subject(a broker.Address) string {
	switch a.Kind {
	case broker.Inbox:
		return l.opts.Prefix + ".in." + a.Name + ".reply"
	case broker.Host:
		return l.opts.Prefix + ".host." + token(a.Topic) + "." + token(a.Host)
	case broker.Any:
		return l.opts.Prefix + ".any." + token(a.Topic) + "." + token(l.opts.Name)
	case broker.All:
		return l.opts.Prefix + ".all." + token(a.Topic)
	}
	return l.opts.Prefix + ".event." + tokens(a.Name)
}

// pattern is what to subscribe to for a.
func (l *link) pattern(a broker.Address) string {
	switch {
	case a.Kind == broker.Inbox:
		return l.opts.Prefix + ".in." + a.Name + ".*"
	case a.Kind == broker.Any: // whoever sends
		return l.opts.Prefix + ".any." + token(a.Topic) + ".*"
	case a.Kind != broker.Event:
		return l.subject(a)
	case a.Name == "" || !bus.ValidName(a.Name):
		return l.opts.Prefix + ".event.>" // no event has a name that is not valid
	}
	return l.opts.Prefix + ".event." + tokens(strings.TrimSuffix(a.Name, ".")) + ".>"
}

// sender is who sent a message to any server, by the end of its subject: an
// embedded server makes sure that nodes use their own names there.
func sender(subject string) string {
	name, err := url.PathUnescape(subject[strings.LastIndexByte(subject, '.')+1:])
	if err != nil {
		return "" // it has no name
	}
	return name
}

// tokens makes a subject of a dotted name.
func tokens(name string) string {
	list := strings.Split(name, ".")
	for i, s := range list {
		list[i] = token(s)
	}
	return strings.Join(list, ".")
}

// token writes s so that it is one token of a subject: no two names give the
// same, none is empty, none has a dot.
func token(s string) string {
	if s == "" {
		return "%"
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '.' || c == '%' || c == '*' || c == '>' || c <= ' ' || c == 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
