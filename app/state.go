package app

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tropocloud/tropo/host"
)

// State is the folder that holds everything a cloud keeps: databases, keys,
// images, guests, the sockets and logs of its daemons.
type State struct {
	Dir string
}

// OpenState makes the folder (mode 0700) where it does not exist.
func OpenState(dir string) (*State, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &State{Dir: abs}
	for _, d := range []string{"", "db", "log", "run"} {
		if err := os.MkdirAll(filepath.Join(abs, d), 0o700); err != nil {
			return nil, fmt.Errorf("make the state folder: %w", err)
		}
	}
	return s, nil
}

// Path is a path inside the folder.
func (s *State) Path(parts ...string) string {
	return filepath.Join(append([]string{s.Dir}, parts...)...)
}

// Secrets are made at the first start and kept in a file that only its owner
// can read.
type Secrets struct {
	CloudID  string            `json:"cloud_id"` // 8 hex digits: names the cloud's namespace and links
	Admin    string            `json:"admin_password,omitempty"`
	Metadata string            `json:"metadata_secret"`
	Services map[string]string `json:"service_passwords,omitempty"` // by user name
}

// serviceUsers are the users with which the services call each other, named as
// upstream's.
var serviceUsers = []string{"nova", "neutron", "glance", "placement"}

// Secrets reads the secrets, and makes those that are missing. adminPassword,
// if not empty, is used for a cloud that is new.
func (s *State) Secrets(adminPassword string) (*Secrets, error) {
	sec, err := s.readSecrets()
	if err != nil {
		return nil, err
	}
	before := fmt.Sprint(*sec)
	if sec.CloudID == "" {
		sec.CloudID = s.newCloudID()
	}
	if sec.Admin == "" {
		sec.Admin = adminPassword
	}
	if sec.Admin == "" {
		sec.Admin = random(12)
	}
	if sec.Metadata == "" {
		sec.Metadata = random(32)
	}
	if sec.Services == nil {
		sec.Services = map[string]string{}
	}
	for _, u := range serviceUsers {
		if sec.Services[u] == "" {
			sec.Services[u] = random(32)
		}
	}
	if fmt.Sprint(*sec) == before {
		return sec, nil
	}
	return sec, s.writeSecrets(sec)
}

// nodeSecrets are those of a machine without the role control: a name for what
// it makes on this host, and the secret of metadata proxies. Nothing else is
// for such a machine.
func (s *State) nodeSecrets(metadata string) (*Secrets, error) {
	sec, err := s.readSecrets()
	if err != nil {
		return nil, err
	}
	want := &Secrets{CloudID: sec.CloudID, Metadata: metadata}
	if want.CloudID == "" {
		want.CloudID = s.newCloudID()
	}
	if fmt.Sprint(*want) == fmt.Sprint(*sec) {
		return want, nil
	}
	return want, s.writeSecrets(want)
}

func (s *State) newCloudID() string {
	sum := sha256.Sum256([]byte(s.Dir + random(8)))
	return hex.EncodeToString(sum[:4])
}

func (s *State) readSecrets() (*Secrets, error) {
	path, sec := s.Path("secrets.json"), &Secrets{}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return sec, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(b, sec); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return sec, nil
}

func (s *State) writeSecrets(sec *Secrets) error {
	b, err := json.MarshalIndent(sec, "", "  ")
	if err != nil {
		return err
	}
	return host.WriteFile(s.Path("secrets.json"), append(b, '\n'), 0o600)
}

// adminSocket is where the running process can be asked by whoever owns the
// folder.
func (s *State) adminSocket(cloudID string) string {
	sock := s.Path("run", "admin.sock")
	if len(sock) > 100 { // longer than a unix socket's address may be
		sock = filepath.Join(os.TempDir(), "tropo-"+cloudID+".sock")
	}
	return sock
}

// AdminSocket is the socket of the process that runs in a state folder.
func AdminSocket(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, "secrets.json")); err != nil {
		return "", fmt.Errorf("there is no cloud in %s", dir)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	s := &State{Dir: abs}
	sec, err := s.readSecrets()
	if err != nil {
		return "", err
	}
	return s.adminSocket(sec.CloudID), nil
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// WriteClients writes clouds.yaml and openrc for the admin of the cloud whose
// identity service is at authURL.
func (s *State) WriteClients(authURL, password string) error {
	clouds := fmt.Sprintf(`clouds:
  tropo:
    auth:
      auth_url: %s
      username: admin
      password: %q
      project_name: admin
      user_domain_id: default
      project_domain_id: default
    region_name: RegionOne
    identity_api_version: 3
    interface: public
`, authURL, password)
	if err := host.WriteFile(s.Path("clouds.yaml"), []byte(clouds), 0o600); err != nil {
		return err
	}
	rc := fmt.Sprintf(`export OS_AUTH_URL=%s
export OS_USERNAME=admin
export OS_PASSWORD=%s
export OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
export OS_REGION_NAME=RegionOne
export OS_IDENTITY_API_VERSION=3
export OS_INTERFACE=public
`, authURL, "'"+strings.ReplaceAll(password, "'", `'\''`)+"'")
	return host.WriteFile(s.Path("openrc"), []byte(rc), 0o600)
}
