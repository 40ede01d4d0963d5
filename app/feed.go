package app

import (
	"context"
	"net/http"

	"github.com/tropocloud/tropo/feed"
)

// startFeed answers at /feed with the changes of all services in one stream.
func startFeed(_ context.Context, s *System) error {
	feeds := map[string]string{}
	for _, service := range []string{"compute", "image", "network"} {
		for _, m := range mounts {
			if m.service == service {
				feeds[service] = "http://" + s.common + m.path + "/feed"
			}
		}
	}
	return s.publish("feed", &feed.All{Feeds: feeds, Client: &http.Client{Transport: s.transport}})
}
