package api

import (
	"net/http"
	"time"

	"github.com/tropocloud/tropo/cluster"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// node is the node whose certificate authenticates the connection.
func (a *api) node(r *rest.Request) (cluster.Node, error) {
	t := r.HTTP.TLS
	if t == nil || len(t.VerifiedChains) == 0 {
		return cluster.Node{}, errCertificate()
	}
	return a.manager.Admit(t.VerifiedChains[0][0])
}

func (a *api) join(r *rest.Request) (any, error) {
	var in cluster.JoinRequest
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	roles := make([]string, len(in.Node.Roles))
	for i, role := range in.Node.Roles {
		roles[i] = string(role)
	}
	parsed, err := cluster.ParseRoles(roles)
	if err != nil {
		return nil, err
	}
	in.Node.Roles = parsed
	return a.manager.Join(r.Context(), in)
}

func (a *api) beat(r *rest.Request) (any, error) {
	n, err := a.node(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Version string `json:"version"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return a.manager.Beat(r.Context(), n, in.Version)
}

func (a *api) renew(r *rest.Request) (any, error) {
	n, err := a.node(r)
	if err != nil {
		return nil, err
	}
	var in struct {
		Request string `json:"certificate_request"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	cert, err := a.manager.Renew(r.Context(), n, in.Request)
	if err != nil {
		return nil, err
	}
	return map[string]string{"certificate": cert}, nil
}

func (a *api) control(r *rest.Request) (any, error) {
	n, err := a.node(r)
	if err != nil {
		return nil, err
	}
	return a.manager.Share(r.Context(), n)
}

func (a *api) keys(r *rest.Request) (any, error) {
	n, err := a.node(r)
	if err != nil {
		return nil, err
	}
	return a.manager.Keys(r.Context(), n, r.Query().Get("have"))
}

func (a *api) listNodes(r *rest.Request) (any, error) {
	list, err := a.manager.Nodes(r.Context())
	if err != nil {
		return nil, err
	}
	docs := make([]cluster.NodeDocument, len(list))
	for i, n := range list {
		docs[i] = n.Document()
	}
	return map[string]any{"nodes": docs}, nil
}

func (a *api) deleteNode(r *rest.Request) (any, error) {
	return nil, a.manager.Remove(r.Context(), r.Var("name"))
}

// tokenView is a token without its secret.
type tokenView struct {
	ID      string         `json:"id"`
	Roles   []cluster.Role `json:"roles"`
	Uses    int            `json:"uses_left"`
	Created time.Time      `json:"created_at"`
	Expires time.Time      `json:"expires_at"`
	Token   string         `json:"token,omitempty"` // only when it is made
}

func viewToken(t cluster.Token, text string) tokenView {
	return tokenView{ID: t.ID, Roles: t.Roles, Uses: t.Uses, Created: t.Created, Expires: t.Expires, Token: text}
}

func (a *api) listTokens(r *rest.Request) (any, error) {
	list, err := a.manager.Tokens(r.Context())
	if err != nil {
		return nil, err
	}
	docs := make([]tokenView, len(list))
	for i, t := range list {
		docs[i] = viewToken(t, "")
	}
	return map[string]any{"tokens": docs}, nil
}

func (a *api) createToken(r *rest.Request) (any, error) {
	var in struct {
		Roles []string `json:"roles"`
		Uses  int      `json:"uses"`
		TTL   int64    `json:"ttl"` // seconds
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if len(in.Roles) == 0 {
		return nil, fault.Invalidf("Say for which roles the token is: control, compute, network, storage.")
	}
	roles, err := cluster.ParseRoles(in.Roles)
	if err != nil {
		return nil, err
	}
	t, text, err := a.manager.CreateToken(r.Context(), roles, in.Uses, time.Duration(in.TTL)*time.Second)
	if err != nil {
		return nil, err
	}
	return &rest.Response{Status: http.StatusCreated, Header: http.Header{"Cache-Control": {"no-store"}}, Body: map[string]any{"token": viewToken(*t, text)}}, nil
}

func (a *api) deleteToken(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteToken(r.Context(), r.Var("id"))
}
