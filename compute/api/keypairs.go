package api

import (
	"encoding/json"
	"net/http"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// keyOwner is the user whose key pairs a route is about: the caller, or since
// 2.10 whom the request names. Only administrators may name another.
func (a *api) keyOwner(r *rest.Request) (any, policy.Target, error) {
	user := r.Caller().User.ID
	if from(r, "2.10") {
		if v := r.Query().Get("user_id"); v != "" {
			user = v
		}
		var in struct {
			KeyPair struct {
				UserID string `json:"user_id"`
			} `json:"keypair"`
		}
		if r.HTTP.Method == http.MethodPost && json.Unmarshal(r.Body(), &in) == nil && in.KeyPair.UserID != "" {
			user = in.KeyPair.UserID
		}
	}
	return user, policy.Target{"user_id": user}, nil
}

func keyDoc(r *rest.Request, k *compute.KeyPair) m {
	doc := m{"name": k.Name, "public_key": k.PublicKey, "fingerprint": k.Fingerprint}
	if from(r, "2.2") {
		doc["type"] = k.Type
	}
	return doc
}

func (a *api) listKeyPairs(r *rest.Request) (any, error) {
	limit, marker := a.m.Config().MaxLimit, ""
	if from(r, "2.35") {
		p, err := r.Page(rest.PageOptions{Max: limit})
		if err != nil {
			return nil, err
		}
		if marker = p.Marker; p.Limit > 0 {
			limit = p.Limit
		}
	}
	list, err := a.m.KeyPairs(r.Context(), r.Object().(string), marker, limit)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		out = append(out, m{"keypair": keyDoc(r, &list[i])})
	}
	doc := m{"keypairs": out}
	if from(r, "2.35") && len(list) == limit && len(list) > 0 {
		doc["keypairs_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].Name)}}
	}
	return doc, nil
}

func (a *api) createKeyPair(r *rest.Request) (any, error) {
	var in struct {
		KeyPair struct {
			Name   string  `json:"name"`
			Type   string  `json:"type"`
			Public *string `json:"public_key"`
		} `json:"keypair"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	kind := in.KeyPair.Type
	if kind == "" {
		kind = compute.KeySSH
	}
	user := r.Object().(string)
	var k *compute.KeyPair
	var private string
	var err error
	if in.KeyPair.Public != nil {
		k, err = a.m.ImportKeyPair(r.Context(), user, in.KeyPair.Name, kind, *in.KeyPair.Public)
	} else {
		k, private, err = a.m.CreateKeyPair(r.Context(), user, in.KeyPair.Name, kind)
	}
	if err != nil {
		return nil, err
	}
	doc := keyDoc(r, k)
	doc["user_id"] = user
	if private != "" {
		doc["private_key"] = private
	}
	code := http.StatusOK
	if from(r, "2.2") {
		code = http.StatusCreated
	}
	return &rest.Response{Status: code, Body: m{"keypair": doc}}, nil
}

func (a *api) showKeyPair(r *rest.Request) (any, error) {
	k, err := a.m.KeyPair(r.Context(), r.Object().(string), r.Var("name"))
	if err != nil {
		return nil, err
	}
	doc := keyDoc(r, k)
	doc["user_id"], doc["id"], doc["deleted"], doc["created_at"] = k.UserID, k.ID, false, micros(&k.CreatedAt)
	doc["deleted_at"], doc["updated_at"] = nil, nil
	return m{"keypair": doc}, nil
}

func (a *api) deleteKeyPair(r *rest.Request) (any, error) {
	code := http.StatusAccepted
	if from(r, "2.2") {
		code = http.StatusNoContent
	}
	return &rest.Response{Status: code}, a.m.DeleteKeyPair(r.Context(), r.Object().(string), r.Var("name"))
}
