package nats

import (
	"crypto/x509"

	"github.com/nats-io/nats-server/v2/server"
)

// Limits are what a client may do at an embedded server: serve topics as its
// host, call other topics' servers, and answer. It cannot read what others are
// sent, nor serve in their place, nor call hosts, nor announce events.
type Limits struct {
	Host   string   // the only one as which it may serve, and its bus's Name
	Serves []string // topics
	Calls  []string // topics, of any server
}

// Limit says what the owner of a certificate, whom Admit has let in, may do;
// nil: everything.
type Limit func(c *x509.Certificate) *Limits

// permissions are l for names that begin with prefix.
func (l *Limits) permissions(prefix string) *server.Permissions {
	subscribe := []string{prefix + ".in." + token(l.Host) + ".>"}
	publish := []string{prefix + ".in.>"} // answers
	for _, t := range l.Serves {
		own := prefix + ".host." + token(t) + "." + token(l.Host)
		subscribe = append(subscribe, own, prefix+".any."+token(t)+".*", prefix+".all."+token(t))
		publish = append(publish, own) // whether it is served already
	}
	for _, t := range l.Calls {
		publish = append(publish, prefix+".any."+token(t)+"."+token(l.Host)) // in its own name
	}
	return &server.Permissions{Subscribe: &server.SubjectPermission{Allow: subscribe}, Publish: &server.SubjectPermission{Allow: publish}}
}
