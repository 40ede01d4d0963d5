package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/tropocloud/tropo/bus"
	"github.com/tropocloud/tropo/cluster"
	clusterclient "github.com/tropocloud/tropo/cluster/client"
	"github.com/tropocloud/tropo/host"
)

const (
	// keysEvent is announced on the bus after a rotation of keys.
	keysEvent = "cluster.keys"
	// keysLook is how often a control node looks whether its keys, or those
	// of the cloud, have changed.
	keysLook = 2 * time.Second
	factKeys = "keys"
)

// agreedKeys is what all control nodes agree on: which keys are the cloud's,
// not the keys themselves.
type agreedKeys struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"`
	Node    string `json:"node"` // where they were made
}

// startKeys keeps identity's keys the same on all control nodes. A rotation on
// one makes a staged key that the others have already the primary, and stages
// a new one: so all open what any of them seals, as long as the rotation has
// reached them before the next.
func startKeys(_ context.Context, s *System) error {
	if s.nodes == nil {
		return nil
	}
	due := make(chan struct{}, 1)
	s.onStop(stopper(s.bus.Subscribe(keysEvent, func(context.Context, bus.Event) {
		select {
		case due <- struct{}{}:
		default:
		}
	})))
	s.Go("keys of identity", func(ctx context.Context) error {
		for {
			if err := s.syncKeys(ctx); err != nil && ctx.Err() == nil {
				s.log.LogAttrs(ctx, slog.LevelWarn, "identity's keys may differ among the control nodes", slog.Any("error", err))
			}
			select {
			case <-ctx.Done():
				return nil
			case <-due:
			case <-time.After(keysLook*4/5 + rand.N(keysLook*2/5)): //nolint:gosec // jitter is no secret
			}
		}
	})
	return nil
}

// syncKeys compares the keys here, those that were last the same everywhere,
// and those that the cloud agreed on: what changed here alone is published,
// what changed elsewhere is fetched.
func (s *System) syncKeys(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	here, err := s.readKeys()
	if err != nil {
		return err
	}
	text, err := s.nodes.Fact(ctx, factKeys)
	if err != nil {
		return err
	}
	var agreed agreedKeys
	if text != "" {
		if err := json.Unmarshal([]byte(text), &agreed); err != nil {
			return fmt.Errorf("the agreed keys: %w", err)
		}
	}
	same, err := s.lastKeys()
	if err != nil {
		return err
	}
	switch {
	case here.Digest == agreed.Digest:
		if same == here.Digest {
			return nil
		}
		return s.keepLastKeys(here.Digest)
	case agreed.Version == 0, same == agreed.Digest:
		return s.publishKeys(ctx, text, agreedKeys{agreed.Version + 1, here.Digest, s.member.Name})
	case same != "" && same != here.Digest:
		s.log.LogAttrs(ctx, slog.LevelWarn, "keys were rotated on two control nodes at the same time; the other's are taken", slog.String("node", agreed.Node))
	}
	return s.fetchKeys(ctx, here.Digest, agreed)
}

func (s *System) publishKeys(ctx context.Context, old string, next agreedKeys) error {
	b, err := json.Marshal(next)
	if err != nil {
		return err
	}
	won, err := s.nodes.SwapFact(ctx, factKeys, old, string(b))
	if err != nil || !won { // another was faster: the next look fetches
		return err
	}
	if err := s.keepLastKeys(next.Digest); err != nil {
		return err
	}
	if err := bus.Tell(ctx, s.bus, keysEvent, struct{}{}); err != nil {
		s.log.LogAttrs(ctx, slog.LevelInfo, "a rotation of keys was not announced", slog.Any("error", err))
	}
	return nil
}

// fetchKeys gets the agreed keys from any control node that has them.
func (s *System) fetchKeys(ctx context.Context, have string, want agreedKeys) error {
	err := errors.New("no other control node is known")
	t := nodeTransport(s.identity)
	defer t.CloseIdleConnections()
	for _, n := range s.member.Controls() {
		if n.Name == s.member.Name {
			continue
		}
		var k *cluster.Keys
		k, e := clusterclient.New(managementURL(n)+"/cluster", t).Keys(ctx, have)
		if e != nil {
			err = e
			continue
		}
		if k.Digest != want.Digest || len(k.Files) == 0 {
			err = fmt.Errorf("%s has not the keys of version %d", n.Name, want.Version)
			continue
		}
		if err := s.writeKeys(k); err != nil {
			return err
		}
		s.log.LogAttrs(ctx, slog.LevelInfo, "identity's keys were fetched", slog.String("node", n.Name), slog.Int("version", want.Version))
		return s.keepLastKeys(k.Digest)
	}
	return err
}

// lastKeys is the digest of the keys that were last the same everywhere.
func (s *System) lastKeys() (string, error) {
	b, err := os.ReadFile(s.state.Path("keys-digest"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

func (s *System) keepLastKeys(digest string) error {
	return host.WriteFile(s.state.Path("keys-digest"), []byte(digest+"\n"), 0o600)
}
