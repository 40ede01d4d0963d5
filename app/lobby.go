package app

import (
	"context"
	"net/http"
	"time"
)

const (
	// lobbySeats bounds how many requests wait for a service to start.
	lobbySeats = 1024
	// lobbyLimit bounds how long: less than any client waits for an answer.
	lobbyLimit = 5 * time.Second
)

// lobby lets requests wait for a service that is starting, so that clients
// whose balancer does not look at /healthcheck hardly notice that a control
// node is restarted. Who waits for too long, or finds no seat, is told what
// front tells. Nodes are not sent through it: they can ask another at once.
type lobby struct {
	front *front
	seats chan struct{}
	limit time.Duration
	done  <-chan struct{} // the end of the system
}

var _ http.Handler = (*lobby)(nil)

func newLobby(ctx context.Context, f *front) *lobby {
	return &lobby{front: f, seats: make(chan struct{}, lobbySeats), limit: lobbyLimit, done: ctx.Done()}
}

// ServeHTTP implements http.Handler.
func (l *lobby) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, known := l.front.find(r.URL.Path)
	if h == nil && known {
		l.wait(r)
		h, known = l.front.find(r.URL.Path)
	}
	l.front.answer(w, r, h, known)
}

// wait returns when the service answers, or when there is no more waiting.
func (l *lobby) wait(r *http.Request) {
	select {
	case l.seats <- struct{}{}:
		defer func() { <-l.seats }()
	default:
		return
	}
	limit := time.NewTimer(l.limit)
	defer limit.Stop()
	for {
		news := l.front.next(r.URL.Path)
		if news == nil {
			return
		}
		select {
		case <-news:
		case <-limit.C:
			return
		case <-r.Context().Done():
			return
		case <-l.done:
			return
		}
	}
}
