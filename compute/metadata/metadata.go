// Package metadata is the service that guests ask about themselves at
// 169.254.169.254, in OpenStack's and in EC2's form. Requests come through the
// network service's proxy, which names the server and signs its id; nothing
// that a guest can set is believed.
//
// Source: https://docs.openstack.org/nova/latest/user/metadata.html
package metadata

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/guestdata"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
)

// The dated versions of the documents; all are served with today's content.
var (
	openstackVersions = []string{"2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14", "latest"}
	ec2Versions       = []string{"1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15", "2008-02-01", "2008-09-01", "2009-04-04", "latest"}
)

// Handler answers guests.
type Handler struct {
	m      *manager.Manager
	secret []byte
	log    *slog.Logger
}

var _ http.Handler = (*Handler)(nil)

// New makes the service. secret is the key that the network service's proxy
// signs with (metadata_proxy_shared_secret); without one nobody is answered.
func New(m *manager.Manager, secret string, log *slog.Logger) *Handler {
	if log == nil {
		log = slog.Default()
	}
	return &Handler{m, []byte(secret), log}
}

// Sign is the signature of an instance id: the hex of its HMAC-SHA256.
func Sign(secret, instanceID string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(instanceID))
	return hex.EncodeToString(h.Sum(nil))
}

// nodeHeader names the node whose proxy asks, where that has a secret of its
// own.
const nodeHeader = "X-Tropo-Node"

// NodeSecret is the secret of one node's proxy, made from the common one: it is
// good for the servers on that node alone.
func NodeSecret(secret, node string) string { return Sign(secret, "node "+node) }

// ServeHTTP answers one request of a guest.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405 Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	g, err := h.guest(r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	kind, body, ok, err := find(g, r.URL.Path)
	switch {
	case err != nil:
		h.refuse(w, r, err)
	case !ok:
		http.Error(w, "404 Not Found", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", kind)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Method == http.MethodGet {
			_, _ = w.Write(body) // a guest that hangs up is no error
		}
	}
}

// guest finds who asks by the proxy's headers alone (threat 25).
func (h *Handler) guest(r *http.Request) (*guestdata.Guest, error) {
	id, project := r.Header.Get("X-Instance-ID"), r.Header.Get("X-Tenant-ID")
	if project == "" {
		project = r.Header.Get("X-Project-ID")
	}
	given := []byte(r.Header.Get("X-Instance-ID-Signature"))
	if id == "" || project == "" {
		return nil, fault.Invalidf("X-Instance-ID or X-Tenant-ID header is missing from request.")
	}
	secret, node := string(h.secret), r.Header.Get(nodeHeader)
	if node != "" {
		secret = NodeSecret(secret, node)
	}
	if len(h.secret) == 0 || !hmac.Equal(given, []byte(Sign(secret, id))) {
		return nil, fault.Forbiddenf("Invalid proxy request signature.")
	}
	s, err := h.m.FindServer(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if s.ProjectID != project || s.VMState == compute.StateDeleted || node != "" && s.Host != node {
		return nil, fault.Missing("Instance", id)
	}
	return h.m.Guest(r.Context(), s)
}

func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.Invalid:
		code = http.StatusBadRequest
	case fault.Forbidden:
		code = http.StatusForbidden
	case fault.NotFound:
		code = http.StatusNotFound
	case fault.Unavailable:
		code = http.StatusServiceUnavailable
	default:
		h.log.LogAttrs(r.Context(), slog.LevelError, "metadata request failed", slog.String("error", err.Error()))
	}
	http.Error(w, http.StatusText(code), code)
}

const (
	plainText = "text/plain; charset=UTF-8"
	jsonText  = "application/json"
)

// find returns the document at a path.
func find(g *guestdata.Guest, p string) (kind string, body []byte, ok bool, err error) {
	segs := strings.FieldsFunc(path.Clean("/"+p), func(c rune) bool { return c == '/' })
	if len(segs) == 0 {
		return plainText, []byte(strings.Join(append(slices.Clone(ec2Versions), "openstack"), "\n")), true, nil
	}
	if segs[0] == "openstack" {
		return openstack(g, segs[1:])
	}
	if !slices.Contains(ec2Versions, segs[0]) {
		return "", nil, false, nil
	}
	kind, body, ok = ec2(g, segs[1:])
	return kind, body, ok, nil
}

func openstack(g *guestdata.Guest, segs []string) (kind string, body []byte, ok bool, err error) {
	if len(segs) == 0 {
		return plainText, []byte(strings.Join(openstackVersions, "\n")), true, nil
	}
	if segs[0] == "content" && len(segs) == 2 {
		files, err := g.Drive()
		b, ok := files["openstack/content/"+segs[1]]
		return "application/octet-stream", b, ok, err
	}
	if !slices.Contains(openstackVersions, segs[0]) {
		return "", nil, false, nil
	}
	if len(segs) == 1 {
		list := []string{"meta_data.json", "network_data.json", "vendor_data.json", "vendor_data2.json"}
		if g.UserData() != nil {
			list = append(list, "user_data")
		}
		return plainText, []byte(strings.Join(list, "\n")), true, nil
	}
	if len(segs) > 2 {
		return "", nil, false, nil
	}
	switch segs[1] {
	case "meta_data.json":
		body, err = g.MetaData()
	case "network_data.json":
		body, err = g.NetworkData()
	case "vendor_data.json":
		body = []byte("{}")
	case "vendor_data2.json":
		body, err = json.Marshal(map[string]any{"static": map[string]any{}})
	case "user_data":
		body = g.UserData()
		return "application/octet-stream", body, body != nil, nil
	case "password":
		return plainText, nil, true, nil
	default:
		return "", nil, false, nil
	}
	return jsonText, body, true, err
}

func ec2(g *guestdata.Guest, segs []string) (kind string, body []byte, ok bool) {
	if len(segs) == 0 {
		list := "meta-data/"
		if g.UserData() != nil {
			list += "\nuser-data"
		}
		return plainText, []byte(list), true
	}
	switch segs[0] {
	case "user-data":
		b := g.UserData()
		return "application/octet-stream", b, b != nil && len(segs) == 1
	case "meta-data":
		text, ok := g.EC2(strings.Join(segs[1:], "/"))
		return plainText, []byte(text), ok
	}
	return "", nil, false
}
