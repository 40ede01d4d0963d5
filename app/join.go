package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/tropocloud/tropo/cluster"
	clusterclient "github.com/tropocloud/tropo/cluster/client"
	clustermanager "github.com/tropocloud/tropo/cluster/manager"
	"github.com/tropocloud/tropo/cluster/pki"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/host"
)

// JoinOptions make this machine part of a cloud.
type JoinOptions struct {
	StateDir string
	Control  string // "https://10.0.0.11:5443"
	Token    string
	Config   Config // its [node] group tells roles, addresses and links
}

// Join enrols this machine and stores what it was given. A machine that has
// joined already (the same state folder) stays as it is.
func Join(ctx context.Context, o JoinOptions) error {
	state, err := OpenState(o.StateDir)
	if err != nil {
		return err
	}
	lock, err := host.LockDir(state.Dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Unlock() }()
	e, err := state.enrolment()
	if err != nil {
		return err
	}
	switch {
	case e != nil && !e.Partial:
		return nil
	case e == nil:
		if _, err := os.Stat(state.Path("secrets.json")); err == nil {
			return fault.Conflictf("The state folder %s holds a cloud of its own: join with an empty one.", state.Dir)
		}
		if e, err = enrol(ctx, state, o); err != nil {
			return err
		}
	}
	if !e.control() {
		return nil
	}
	return completeControl(ctx, state, o.Config, e)
}

// enrol gets the certificate. Its key is kept first, so that a machine whose
// answer was lost can ask again.
func enrol(ctx context.Context, state *State, o JoinOptions) (*enrolment, error) {
	token, err := cluster.ParseToken(o.Token)
	if err != nil {
		return nil, err
	}
	n, err := joining(ctx, o)
	if err != nil {
		return nil, err
	}
	files := clustermanager.Files(state.Path("pki"))
	if err := os.MkdirAll(filepath.Dir(files.Key), 0o700); err != nil {
		return nil, err
	}
	key, err := os.ReadFile(files.Key)
	if errors.Is(err, os.ErrNotExist) {
		if key, err = pki.NewKey(); err != nil {
			return nil, err
		}
		err = host.WriteFile(files.Key, key, 0o600)
	}
	if err != nil {
		return nil, err
	}
	got, err := clusterclient.Join(ctx, o.Control, token, n, key)
	if err != nil {
		return nil, err
	}
	for file, text := range map[string]string{files.CA: got.CA, files.Cert: got.Certificate} {
		if err := host.WriteFile(file, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	e := &enrolment{
		Membership: got.Membership, User: got.User, Password: got.Password, Metadata: got.Metadata, Partial: n.Has(cluster.Control),
		ServiceInterface: o.Config.Node.ServiceInterface, ProviderInterface: o.Config.Node.ProviderInterface,
	}
	return e, state.writeEnrolment(e)
}

// joining is what this machine says of itself.
func joining(ctx context.Context, o JoinOptions) (cluster.Node, error) {
	c := o.Config
	n := cluster.Node{Name: c.Host}
	var err error
	if n.Name == "" {
		if n.Name, err = os.Hostname(); err != nil {
			return n, err
		}
	}
	if n.Roles, err = cluster.ParseRoles(c.Node.Roles); err != nil {
		return n, err
	}
	if c.Node.ManagementAddress == "" {
		if n.Management, err = addressTowards(ctx, o.Control); err != nil {
			return n, err
		}
	}
	for _, a := range []struct {
		flag, text string
		to         *netip.Addr
	}{
		{"--address", c.Node.ManagementAddress, &n.Management},
		{"--storage-address", c.Node.StorageAddress, &n.Storage},
		{"--service-address", c.Node.ServiceAddress, &n.Service},
	} {
		if a.text == "" {
			continue
		}
		if *a.to, err = netip.ParseAddr(a.text); err != nil {
			return n, fault.Invalidf("%s %s: write an IP address of this machine.", a.flag, a.text)
		}
	}
	return n, nil
}

// addressTowards is this machine's address on the way to the control node.
func addressTowards(ctx context.Context, control string) (netip.Addr, error) {
	u, err := clusterclient.ControlURL(control)
	if err != nil {
		return netip.Addr{}, err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", u.Host) // sends nothing
	if err != nil {
		return netip.Addr{}, fault.Wrap(fault.Unavailable, err, "There is no way to %s from here.", u.Host)
	}
	defer func() { _ = c.Close() }()
	a, err := netip.ParseAddrPort(c.LocalAddr().String())
	return a.Addr().Unmap(), err
}

// completeControl gets what a control node needs, over a connection that the
// node's certificate authenticates, and makes it this machine's.
func completeControl(ctx context.Context, state *State, c Config, e *enrolment) error {
	id, err := pki.Load(clustermanager.Files(state.Path("pki")))
	if err != nil {
		return err
	}
	var doc *cluster.ControlDocument
	err = errors.New("no control node is known")
	for _, n := range e.Controls {
		if n.Name == e.Node.Name {
			continue
		}
		t := nodeTransport(id)
		doc, err = clusterclient.New(managementURL(n.Node())+"/cluster", t).Control(ctx)
		t.CloseIdleConnections()
		if err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("ask for what a control node needs: %w", err)
	}
	if err := takeSecrets(state, doc); err != nil {
		return err
	}
	e.Database, e.Transport, e.Partial = doc.Database, doc.Bus, false
	s := &System{o: Options{Config: c}, state: state}
	if err := s.writeKeys(&doc.Keys); err != nil {
		return err
	}
	return state.writeEnrolment(e)
}

// takeSecrets stores the files that control nodes share. The name for what a
// cloud makes on its host stays each machine's own.
func takeSecrets(state *State, doc *cluster.ControlDocument) error {
	own, err := state.readSecrets()
	if err != nil {
		return err
	}
	sec := &Secrets{}
	if err := json.Unmarshal([]byte(doc.Secrets["secrets.json"]), sec); err != nil {
		return fmt.Errorf("the secrets of the cloud: %w", err)
	}
	if sec.CloudID = own.CloudID; sec.CloudID == "" {
		sec.CloudID = state.newCloudID()
	}
	if doc.Secrets[authorityKey] == "" {
		return errors.New("the authority's key did not come")
	}
	if err := host.WriteFile(state.Path(authorityKey), []byte(doc.Secrets[authorityKey]), 0o600); err != nil {
		return err
	}
	return state.writeSecrets(sec)
}
