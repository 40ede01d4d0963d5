package ovsdb

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
)

// Control runs a command in a daemon of Open vSwitch or OVN over its control
// socket (ovs-appctl(8)) and returns what it prints. An error of the command
// itself is an *Error.
func Control(ctx context.Context, socket, command string, args ...string) (string, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("ovsdb: control socket: %w", err)
	}
	k := newConn(c, func(string, json.RawMessage) error { return nil })
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.read()
	}()
	defer func() {
		k.close(net.ErrClosed)
		<-ended
	}()
	if args == nil {
		args = []string{}
	}
	raw, err := k.call(ctx, command, args, nil)
	if err != nil {
		return "", err
	}
	var out string
	if err := json.Unmarshal(raw, &out); err != nil {
		return "", fmt.Errorf("ovsdb: answer to %s: %w", command, err)
	}
	return out, nil
}
