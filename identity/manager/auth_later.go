package manager

import "context"

// OAuthProof is a signed OAuth1 request.
type OAuthProof struct{}

// MappedProof is an assertion of an identity provider.
type MappedProof struct{}

func (m *Manager) byOAuth1(context.Context, *proof, *OAuthProof) error {
	return unauthenticated("no OAuth1 proof")
}

func (m *Manager) byMapping(context.Context, *proof, *MappedProof) error {
	return unauthenticated("no assertion")
}
