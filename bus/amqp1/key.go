package amqp1

import (
	"fmt"
	"strings"

	"github.com/tropocloud/tropo/bus/broker"
)

// maxKey bounds a routing key: 255 bytes in RabbitMQ.
const maxKey = 255

// maxPattern is how long the pattern of a subscription may be so that it is
// not cut; beyond it all events come, and the bus compares.
const maxPattern = 120

// route returns the exchange and the key of a; pattern: to receive, not to
// send.
func (s *session) route(a broker.Address, pattern bool) (exchange, key string) {
	prefix := s.opts.Prefix + "."
	switch a.Kind {
	case broker.Inbox:
		return s.opts.Direct, prefix + "in." + a.Name
	case broker.Event:
		name := escape(a.Name)
		switch {
		case !pattern:
			return s.opts.Topic, broker.ShortName(prefix+"event."+name, maxKey)
		case len(name) > maxPattern:
			return s.opts.Topic, prefix + "event.#"
		}
		return s.opts.Topic, prefix + "event." + name + "#" // name is empty or ends with a dot
	}
	return s.opts.Direct, broker.ShortName(prefix+"all."+escape(a.Topic), maxKey)
}

// escape writes what may be special in an address or a pattern as "=XX".
func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(".-_:@", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}
