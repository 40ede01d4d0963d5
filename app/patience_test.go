package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tropocloud/tropo/config"
	"github.com/tropocloud/tropo/db"
)

func TestTheStartWaitsForTheDatabase(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	away := fmt.Errorf("start identity: %w", db.ErrAway)
	never := func() bool { return false }
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begin, said := time.Now(), 0
		err := patiently(t.Context(), quiet, func(string) { said++ }, func() error {
			if at = append(at, time.Since(begin)); len(at) < 7 {
				return away
			}
			return nil
		}, never)
		if want := []time.Duration{0, 1e9, 3e9, 7e9, 15e9, 25e9, 35e9}; err != nil || said != 6 || !slices.Equal(at, want) {
			t.Errorf("tried at %v, said %d lines: %v", at, said, err)
		}
		tries := 0
		fail := func(err error) func() error { return func() error { tries++; return err } }
		say := func(line string) { t.Errorf("said %s", line) }
		refused := errors.New("password authentication failed")
		if err := patiently(t.Context(), quiet, say, fail(refused), never); !errors.Is(err, refused) || tries != 1 {
			t.Errorf("a refusal: %d tries, %v", tries, err)
		}
		if err := patiently(t.Context(), quiet, say, fail(away), func() bool { return true }); !errors.Is(err, db.ErrAway) || tries != 2 {
			t.Errorf("after the start: %d tries, %v", tries, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		begin = time.Now()
		if err := patiently(ctx, quiet, func(string) { cancel() }, fail(away), never); err != nil || tries != 3 || time.Since(begin) != 0 {
			t.Errorf("at the end: %d tries, %v", tries, err)
		}
	})
}

// TestUpWaitsForTheDatabase: the server is starting at first, and then does not
// know the password.
func TestUpWaitsForTheDatabase(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	said, ended := make(chan string, 10), make(chan struct{})
	defer func() { _ = l.Close(); <-ended }()
	starting := true
	go func() { // PostgreSQL's protocol: an ErrorResponse to the StartupMessage
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			select {
			case <-said:
				starting = false
			default:
			}
			text := "SFATAL\x00VFATAL\x00C57P03\x00Mthe database system is starting up\x00\x00"
			if !starting {
				text = "SFATAL\x00VFATAL\x00C28P01\x00Mpassword authentication failed\x00\x00"
			}
			_, _ = c.Write(append(binary.BigEndian.AppendUint32([]byte{'E'}, uint32(len(text)+4)), text...))
			_ = c.Close()
		}
	}()
	o := Options{StateDir: t.TempDir(), Listen: []string{"127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler), Version: "test"}
	if err := config.Load(&o.Config, config.Sources{}); err != nil {
		t.Fatal(err)
	}
	o.Config.Database.Connection = "postgres://u:secret@" + l.Addr().String() + "/tropo_%s?sslmode=disable"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var lines []string
	o.Progress = func(s string) { lines = append(lines, s); said <- s }
	err = Up(ctx, o, func(*System) { t.Error("it came up without a database") })
	if err == nil || !strings.Contains(err.Error(), "password authentication failed") || strings.Contains(err.Error(), "secret") {
		t.Errorf("ended with %v", err)
	}
	if len(lines) != 1 || !strings.Contains(lines[0], "starting up") || !strings.Contains(lines[0], "next try in 1s") {
		t.Errorf("said %q", lines)
	}
	// What was told wrong is not waited for.
	o.Config.Database.Connection = "postgres://u@h:port/%s"
	if err := Up(ctx, o, nil); err == nil || errors.Is(err, db.ErrAway) {
		t.Errorf("a malformed URL: %v", err)
	}
}
