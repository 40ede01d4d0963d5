package identity

import "time"

// Config are the options of the service; names, groups and defaults are
// Keystone's.
type Config struct {
	MaxProjectTreeDepth int `config:"max_project_tree_depth" default:"5" min:"1" max:"60" help:"Deepest level of projects below a domain."`

	Identity struct {
		DefaultDomainID       string `config:"default_domain_id" default:"default" help:"The domain that bootstrap makes."`
		PasswordHashAlgorithm string `config:"password_hash_algorithm" default:"bcrypt" choices:"bcrypt,scrypt,pbkdf2_sha512" help:"How new passwords are hashed."`
		PasswordHashRounds    int    `config:"password_hash_rounds" default:"0" help:"Cost of a hash; 0: the algorithm's own default (bcrypt 12)."`
		MaxPasswordLength     int    `config:"max_password_length" default:"4096" min:"1" max:"4096" help:"Longer passwords are cut."`

		DomainSpecificDrivers bool   `config:"domain_specific_drivers_enabled" default:"true" help:"Whether a domain may take its users and groups from a directory ([identity] driver = ldap in its configuration)."`
		DomainConfigsFromDB   bool   `config:"domain_configurations_from_database" default:"true" help:"Whether the configuration that the API stores for a domain counts."`
		DomainConfigDir       string `config:"domain_config_dir" default:"" help:"Folder of files keystone.DOMAIN.conf, for domains without a stored configuration; they are read again with every change of the cloud's identity. Empty: none."`
	} `config:"identity"`

	Token struct {
		Provider                string `config:"provider" default:"fernet" choices:"fernet,jws" help:"Format of tokens: fernet (sealed) or jws (signed: whoever has the public key can read and check them)."`
		Expiration              int    `config:"expiration" default:"3600" min:"1" help:"Life of a token in seconds."`
		AllowRescopeScopedToken bool   `config:"allow_rescope_scoped_token" default:"true" help:"Whether a scoped token may be changed for one of another scope."`
		AllowExpiredWindow      int    `config:"allow_expired_window" default:"172800" min:"0" help:"For how many seconds after its end a token may be validated with allow_expired."`
	} `config:"token"`

	Auth struct {
		Methods []string `config:"methods" default:"external,password,token,oauth1,mapped,application_credential,totp" help:"The authentication methods. Their order is part of the token format."`
	} `config:"auth"`

	FernetTokens struct {
		KeyRepository string `config:"key_repository" default:"fernet-keys" help:"Folder of the keys that seal tokens."`
		MaxActiveKeys int    `config:"max_active_keys" default:"3" min:"1" help:"How many keys a rotation keeps."`
	} `config:"fernet_tokens"`

	JWTTokens struct {
		PrivateKeyRepository string `config:"jws_private_key_repository" default:"jws-keys/private" help:"Folder of private.pem, which signs tokens."`
		PublicKeyRepository  string `config:"jws_public_key_repository" default:"jws-keys/public" help:"Folder of the public keys whose tokens are believed."`
	} `config:"jwt_tokens"`

	Receipt struct {
		Expiration int `config:"expiration" default:"300" min:"1" max:"86400" help:"Life in seconds of a receipt for a part of several factors."`
	} `config:"receipt"`

	FernetReceipts struct {
		KeyRepository string `config:"key_repository" default:"" help:"Folder of the keys that seal receipts; empty: that of tokens."`
		MaxActiveKeys int    `config:"max_active_keys" default:"3" min:"1" help:"How many keys a rotation keeps."`
	} `config:"fernet_receipts"`

	Credential struct {
		KeyRepository string `config:"key_repository" default:"credential-keys" help:"Folder of the keys that encrypt stored credentials."`
		AuthTTL       int    `config:"auth_ttl" default:"15" min:"1" help:"For how many minutes an EC2 or S3 signature is accepted."`
		UserLimit     int    `config:"user_limit" default:"-1" help:"Credentials that a user may have; -1: no limit."`
	} `config:"credential"`

	ApplicationCredential struct {
		UserLimit int `config:"user_limit" default:"-1" help:"Application credentials that a user may have; -1: no limit."`
	} `config:"application_credential"`

	SecurityCompliance struct {
		LockoutFailureAttempts    int    `config:"lockout_failure_attempts" default:"0" min:"0" help:"Wrong passwords until a user is locked; 0: never."`
		LockoutDuration           int    `config:"lockout_duration" default:"1800" min:"1" help:"Seconds that a user stays locked."`
		PasswordExpiresDays       int    `config:"password_expires_days" default:"0" min:"0" help:"Days that a password is valid; 0: for ever."`
		UniqueLastPasswordCount   int    `config:"unique_last_password_count" default:"0" min:"0" help:"How many of a user's last passwords a new one must differ from."`
		MinimumPasswordAge        int    `config:"minimum_password_age" default:"0" min:"0" help:"Days before a user may change the password again."`
		PasswordRegex             string `config:"password_regex" default:"" help:"Pattern that a new password must match."`
		PasswordRegexDescription  string `config:"password_regex_description" default:"" help:"What the pattern asks, for users."`
		ChangeUponFirstUse        bool   `config:"change_password_upon_first_use" default:"false" help:"Whether a password that an administrator set must be changed at the first login."`
		DisableUserInactivityDays int    `config:"disable_user_account_days_inactive" default:"0" min:"0" help:"Days without a login after which a user is disabled; 0: never."`
	} `config:"security_compliance"`

	Trust struct {
		AllowRedelegation    bool `config:"allow_redelegation" default:"true" help:"Whether a trust may be handed on."`
		MaxRedelegationCount int  `config:"max_redelegation_count" default:"3" min:"0" help:"How many times at most."`
	} `config:"trust"`

	OAuth1 struct {
		RequestTokenDuration int `config:"request_token_duration" default:"28800" min:"1" help:"Life of a request token in seconds."`
		AccessTokenDuration  int `config:"access_token_duration" default:"86400" min:"0" help:"Life of an access token in seconds; 0: for ever."`
	} `config:"oauth1"`

	Federation struct {
		DefaultAuthorizationTTL int      `config:"default_authorization_ttl" default:"0" min:"0" help:"Minutes that the groups of a federated login last; 0: only within its token."`
		RemoteIDAttribute       string   `config:"remote_id_attribute" default:"" help:"Attribute of an assertion that names its provider."`
		TrustedDashboards       []string `config:"trusted_dashboard" type:"multi" help:"Addresses to which a browser that signed in may carry its token."`
		TrustedProxySecret      string   `config:"trusted_proxy_secret" secret:"true" default:"" help:"What a proxy that checked an assertion sends in X-Tropo-Federation-Secret beside the attributes; empty: no assertion is accepted."`
	} `config:"federation"`

	SAML SAMLConfig `config:"saml"`

	Resource struct {
		AdminProjectName       string `config:"admin_project_name" default:"" help:"A project whose tokens say is_admin_project, for policies; empty: none."`
		AdminProjectDomainName string `config:"admin_project_domain_name" default:"" help:"The domain of that project; empty: none."`
	} `config:"resource"`

	TokenlessAuth struct {
		TrustedIssuers  []string `config:"trusted_issuer" type:"multi" help:"Names of the issuers whose client certificates stand for a token; none: no certificate does."`
		Protocol        string   `config:"protocol" default:"x509" help:"The federation protocol whose mapping tells the user of a certificate."`
		IssuerAttribute string   `config:"issuer_attribute" default:"SSL_CLIENT_I_DN" help:"Attribute of a certificate that names its issuer."`
	} `config:"tokenless_auth"`

	OAuth2 struct {
		AuthnMethods    []string `config:"oauth2_authn_methods" default:"tls_client_auth,client_secret_basic" help:"How clients of OAuth2 may authenticate."`
		CertDNMappingID string   `config:"oauth2_cert_dn_mapping_id" default:"oauth2_mapping" help:"The mapping that tells the user of a client's certificate."`
	} `config:"oauth2"`

	UnifiedLimit struct {
		EnforcementModel string `config:"enforcement_model" default:"flat" choices:"flat,strict_two_level" help:"How limits of projects below projects count."`
	} `config:"unified_limit"`
}

// TokenLife is how long a new token is valid.
func (c *Config) TokenLife() time.Duration { return time.Duration(c.Token.Expiration) * time.Second }
