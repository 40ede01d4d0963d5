package app

import (
	"context"
	"log/slog"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	identitymanager "github.com/tropocloud/tropo/identity/manager"
	identitystore "github.com/tropocloud/tropo/identity/store"
)

// Identity opens the identity service of a state folder without serving it,
// for the commands that look after its keys; the cloud may run meanwhile.
func Identity(ctx context.Context, dir string, c Config, f func(m *identitymanager.Manager, bootstrap func() error) error) error {
	state, err := OpenState(dir)
	if err != nil {
		return err
	}
	secrets, err := state.loadSecrets("")
	if err != nil {
		return err
	}
	s := &System{o: Options{Config: c}, state: state, secrets: secrets}
	if s.common, s.own, err = listenSpec(nil, DefaultListen); err != nil {
		return err
	}
	e, err := state.enrolment()
	if err != nil {
		return err
	}
	if e != nil {
		if !e.control() {
			return fault.Conflictf("This node has no identity service: run the command on a control node.")
		}
		s.place = &place{e: e}
		e.complete(&s.o.Config)
	}
	d, err := db.Open(ctx, s.databaseURL("identity"))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	st, err := identitystore.New(ctx, d)
	if err != nil {
		return err
	}
	conf := s.identityConfig()
	m, err := identitymanager.New(ctx, identitymanager.Options{Store: st, Config: conf, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return f(m, func() error {
		o := s.bootstrap(conf)
		o.Services = nil // the addresses are those of the cloud's own start
		return m.Bootstrap(ctx, o)
	})
}
