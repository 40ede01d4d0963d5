package api

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// fileDoc is an injected file.
type fileDoc struct {
	Path     string `json:"path"`
	Contents string `json:"contents"`
}

// serverDoc is the body of "Create Server".
type serverDoc struct {
	Name        string            `json:"name"`
	Image       string            `json:"imageRef"`
	Flavor      text              `json:"flavorRef"`
	AdminPass   string            `json:"adminPass"`
	Metadata    map[string]string `json:"metadata"`
	Networks    json.RawMessage   `json:"networks"`
	DiskConfig  string            `json:"OS-DCF:diskConfig"`
	IPv4        string            `json:"accessIPv4"`
	IPv6        string            `json:"accessIPv6"`
	Files       []fileDoc         `json:"personality"`
	Zone        string            `json:"availability_zone"`
	BDM         []json.RawMessage `json:"block_device_mapping"`
	BDM2        []blockDevice     `json:"block_device_mapping_v2"`
	ConfigDrive boolean           `json:"config_drive"`
	KeyName     string            `json:"key_name"`
	Min         number            `json:"min_count"`
	Max         number            `json:"max_count"`
	Reservation boolean           `json:"return_reservation_id"`
	Groups      []struct {
		Name string `json:"name"`
	} `json:"security_groups"`
	UserData    string   `json:"user_data"`
	Description *string  `json:"description"`
	Tags        []string `json:"tags"`
	Certs       []string `json:"trusted_image_certificates"`
	Host        string   `json:"host"`
	Node        string   `json:"hypervisor_hostname"`
	Hostname    string   `json:"hostname"`
}

type blockDevice struct {
	Source      string `json:"source_type"`
	Destination string `json:"destination_type"`
	UUID        string `json:"uuid"`
	BootIndex   text   `json:"boot_index"`
}

func (a *api) createServer(r *rest.Request) (any, error) {
	var in struct {
		Server serverDoc                  `json:"server"`
		Hints  map[string]json.RawMessage `json:"os:scheduler_hints"`
		Hints2 map[string]json.RawMessage `json:"OS-SCH-HNT:scheduler_hints"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if in.Hints == nil {
		in.Hints = in.Hints2
	}
	n, err := newServer(r, &in.Server)
	if err != nil {
		return nil, err
	}
	n.Hints = hints(in.Hints)
	target := policy.Target{"project_id": r.Caller().Project.ID, "user_id": r.Caller().User.ID}
	n.MayForceHost = r.Check(rule("servers:create:forced_host"), target) == nil
	if n.WantHost != "" || n.WantNode != "" {
		if err := r.Check("compute:servers:create:requested_destination", target); err != nil {
			return nil, err
		}
	}
	out, err := a.m.CreateServer(r.Context(), *n)
	if err != nil {
		return nil, err
	}
	if in.Server.Reservation {
		return m{"reservation_id": out.ReservationID}, nil
	}
	s := &out.Servers[0]
	doc := m{"id": s.ID, "links": a.serverLinks(r, s.ID), "OS-DCF:diskConfig": s.DiskConfig, "security_groups": groupNames(s, true)}
	if out.AdminPass != "" {
		doc["adminPass"] = out.AdminPass
	}
	r.Answer().Set("Location", r.Link("/v2.1/servers/"+s.ID))
	return m{"server": doc}, nil
}

// newServer turns the document into what the manager takes.
func newServer(r *rest.Request, in *serverDoc) (*manager.NewServer, error) {
	n := &manager.NewServer{
		Name: in.Name, Description: in.Description, Hostname: in.Hostname, FlavorID: string(in.Flavor), ImageID: in.Image, KeyName: in.KeyName,
		UserData: in.UserData, AdminPass: in.AdminPass, Zone: in.Zone, WantHost: in.Host, WantNode: in.Node, Metadata: in.Metadata, Tags: in.Tags,
		Min: max(1, int(in.Min)), Max: int(in.Max), ConfigDrive: bool(in.ConfigDrive), DiskConfig: in.DiskConfig, AccessIPv4: in.IPv4, AccessIPv6: in.IPv6, TrustedCerts: in.Certs,
	}
	if n.Max == 0 {
		n.Max = n.Min
	}
	if n.Min > n.Max {
		return nil, fault.Invalidf("min_count must be <= max_count")
	}
	if n.Max > 1 && n.Hostname != "" {
		return nil, fault.Invalidf("Instance Hostname is not applicable for multi-create requests.")
	}
	if !from(r, "2.94") && strings.Contains(n.Hostname, ".") {
		return nil, fault.Invalidf("Invalid input for field/attribute hostname. Value: %s.", n.Hostname)
	}
	if !from(r, "2.19") {
		d := in.Name
		n.Description = &d
	}
	if err := bootDevices(in, n); err != nil {
		return nil, err
	}
	for _, g := range in.Groups {
		if g.Name != "" {
			n.SecurityGroups = append(n.SecurityGroups, g.Name)
		}
	}
	var err error
	if n.Files, err = files(in.Files); err != nil {
		return nil, err
	}
	return n, networks(r, in.Networks, n)
}

// bootDevices takes the one block device that there is without volumes: the
// image on the local disk.
func bootDevices(in *serverDoc, n *manager.NewServer) error {
	const none = "This cloud has no volume service: servers boot from images on the host's disk."
	if len(in.BDM) > 0 {
		return fault.Invalidf("Block Device Mapping is Invalid. %s", none)
	}
	for _, d := range in.BDM2 {
		if d.Source != "image" || d.Destination != "local" || d.BootIndex != "0" {
			return fault.Invalidf("Block Device Mapping is Invalid. %s", none)
		}
		if n.ImageID != "" && d.UUID != n.ImageID {
			return fault.Invalidf("Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid.")
		}
		n.ImageID = d.UUID
	}
	return nil
}

func files(list []fileDoc) ([]compute.File, error) {
	var out []compute.File
	for _, f := range list {
		b, err := base64.StdEncoding.DecodeString(f.Contents)
		if err != nil {
			return nil, fault.Invalidf("Personality content for %s cannot be decoded", f.Path)
		}
		out = append(out, compute.File{Path: f.Path, Contents: b})
	}
	return out, nil
}

// networks reads the list, or one of the words that stand for it.
func networks(r *rest.Request, raw json.RawMessage, n *manager.NewServer) error {
	if len(raw) == 0 {
		return nil
	}
	if raw[0] == '"' {
		return json.Unmarshal(raw, &n.NetworkMode)
	}
	var list []struct {
		UUID    string  `json:"uuid"`
		Port    *string `json:"port"`
		FixedIP string  `json:"fixed_ip"`
		Tag     string  `json:"tag"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fault.Invalidf("Invalid input for field/attribute networks.")
	}
	for _, e := range list {
		q := manager.NetworkRequest{NetworkID: e.UUID, FixedIP: e.FixedIP, Tag: e.Tag}
		switch {
		case e.Port != nil && *e.Port != "":
			if q.PortID, q.NetworkID = *e.Port, ""; e.FixedIP != "" {
				return fault.Invalidf("Specified Fixed IP '%s' cannot be used with port '%s': the two cannot be specified together.", e.FixedIP, *e.Port)
			}
		case e.UUID == "":
			return fault.Invalidf("Bad networks format: network uuid is not in proper format (None)")
		}
		n.Networks = append(n.Networks, q)
	}
	return nil
}

// hints makes every hint a list of texts.
func hints(in map[string]json.RawMessage) map[string][]string {
	out := map[string][]string{}
	for k, raw := range in {
		var one string
		var many []string
		switch {
		case json.Unmarshal(raw, &one) == nil:
			out[k] = []string{one}
		case k != "query" && json.Unmarshal(raw, &many) == nil:
			out[k] = many
		default:
			out[k] = []string{string(raw)}
		}
	}
	return out
}

func (a *api) showServer(r *rest.Request) (any, error) {
	doc, err := a.fullServer(r, serverOf(r), true)
	return m{"server": doc}, err
}

// fullServer is the whole view of one server.
func (a *api) fullServer(r *rest.Request, s *compute.Server, one bool) (m, error) {
	details, err := a.m.Details(r.Context(), []compute.Server{*s})
	if err != nil {
		return nil, err
	}
	return a.viewServer(r, s, details[s.ID], one), nil
}

func (a *api) updateServer(r *rest.Request) (any, error) {
	var in struct {
		Server struct {
			Name        *string  `json:"name"`
			DiskConfig  *string  `json:"OS-DCF:diskConfig"`
			IPv4        *string  `json:"accessIPv4"`
			IPv6        *string  `json:"accessIPv6"`
			Description nullable `json:"description"`
			Hostname    *string  `json:"hostname"`
		} `json:"server"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Server
	s, err := a.m.UpdateServer(r.Context(), serverOf(r), manager.Change{
		Name: v.Name, Hostname: v.Hostname, AccessIPv4: v.IPv4, AccessIPv6: v.IPv6, DiskConfig: v.DiskConfig, Description: v.Description.pointer(),
	})
	if err != nil {
		return nil, err
	}
	doc, err := a.changedServer(r, s)
	return m{"server": doc}, err
}

// changedServer is what PUT and rebuild answer: everything since 2.75, before
// that only the basic part.
func (a *api) changedServer(r *rest.Request, s *compute.Server) (m, error) {
	if from(r, "2.75") {
		return a.fullServer(r, s, true)
	}
	details, err := a.m.Details(r.Context(), []compute.Server{*s})
	if err != nil {
		return nil, err
	}
	doc := a.basicServer(r, s, details[s.ID])
	if from(r, "2.71") {
		doc["server_groups"] = groupIDs(s)
	}
	return doc, nil
}

func (a *api) deleteServer(r *rest.Request) (any, error) {
	return nil, a.m.DeleteServer(r.Context(), serverOf(r), false)
}

func (a *api) serverLinks(r *rest.Request, id string) []m {
	return []m{{"rel": "self", "href": r.Link("/v2.1/servers/" + id)}, {"rel": "bookmark", "href": r.Link("/servers/" + id)}}
}
