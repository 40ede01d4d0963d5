package identity

// Provider is an identity provider whose users may come in.
type Provider struct {
	ID          string `db:"id" json:"id"`
	DomainID    string `db:"domain_id" json:"domain_id"`
	Description Ref    `db:"description" json:"description"`
	Enabled     bool   `db:"enabled" json:"enabled"`
	RemoteIDs   List   `db:"remote_ids" json:"remote_ids"`
	// AuthorizationTTL is for how many minutes the groups of a login last;
	// nil: the configured default.
	AuthorizationTTL *int64 `db:"authorization_ttl" json:"authorization_ttl"`
}

// Mapping turns attributes of an assertion into a user and groups.
type Mapping struct {
	ID            string `db:"id" json:"id"`
	Rules         Doc    `db:"rules" json:"rules"`
	SchemaVersion string `db:"schema_version" json:"schema_version"`
}

// Protocol ties a provider to a mapping.
type Protocol struct {
	ID         string `db:"id" json:"id"`
	ProviderID string `db:"idp_id" json:"-"`
	MappingID  string `db:"mapping_id" json:"mapping_id"`
	RemoteAttr Ref    `db:"remote_id_attribute" json:"remote_id_attribute"`
}

// ServiceProvider is another cloud that accepts our assertions (K2K).
type ServiceProvider struct {
	ID               string `db:"id" json:"id"`
	AuthURL          string `db:"auth_url" json:"auth_url"`
	SPURL            string `db:"sp_url" json:"sp_url"`
	Description      Ref    `db:"description" json:"description"`
	Enabled          bool   `db:"enabled" json:"enabled"`
	RelayStatePrefix string `db:"relay_state_prefix" json:"relay_state_prefix"`
}

// FederatedUser ties a user to a name at a provider.
type FederatedUser struct {
	UserID      string `db:"user_id"`
	ProviderID  string `db:"idp_id"`
	ProtocolID  string `db:"protocol_id"`
	UniqueID    string `db:"unique_id"`
	DisplayName string `db:"display_name"`
}
