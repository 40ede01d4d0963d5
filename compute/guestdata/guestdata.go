// Package guestdata makes what a guest reads about itself: the documents of the
// config drive and of the metadata service, in OpenStack's and in EC2's form.
// It is pure.
//
// Source: https://docs.openstack.org/nova/latest/user/metadata.html
package guestdata

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/compute"
)

// Guest is a server with what hangs on it.
type Guest struct {
	Server   *compute.Server
	Metadata map[string]string
	Ports    []compute.Port
	Domain   string // DHCP domain; empty: none
	Seed     []byte // randomness for the guest; nil: none
}

// FQDN is the guest's host name with its domain.
func (g *Guest) FQDN() string {
	if g.Domain == "" || strings.Contains(g.Server.Hostname, ".") {
		return g.Server.Hostname
	}
	return g.Server.Hostname + "." + g.Domain
}

type m = map[string]any

// MetaData is meta_data.json.
func (g *Guest) MetaData() ([]byte, error) {
	s := g.Server
	doc := m{
		"uuid": s.ID, "name": s.Name, "hostname": g.FQDN(), "launch_index": s.LaunchIndex,
		"availability_zone": s.Zone, "project_id": s.ProjectID, "dedicated_cpus": []int{}, "devices": g.devices(),
	}
	if len(g.Metadata) > 0 {
		doc["meta"] = g.Metadata
	}
	if s.Spec.PublicKey != "" {
		doc["public_keys"] = m{s.KeyName: s.Spec.PublicKey}
		doc["keys"] = []m{{"name": s.KeyName, "type": s.Spec.KeyType, "data": s.Spec.PublicKey}}
	}
	if g.Seed != nil {
		doc["random_seed"] = base64.StdEncoding.EncodeToString(g.Seed)
	}
	var files []m
	for i, f := range s.Spec.Files {
		files = append(files, m{"path": f.Path, "content_path": "/content/" + contentName(i)})
	}
	if files != nil {
		doc["files"] = files
	}
	return json.Marshal(doc)
}

func contentName(i int) string { return fmt.Sprintf("%04d", i) }

// devices tells which tag belongs to which interface.
func (g *Guest) devices() []m {
	out := []m{}
	for _, p := range g.Ports {
		if p.Tag != "" && p.Info.MAC != "" {
			out = append(out, m{"type": "nic", "bus": "pci", "address": "", "mac": p.Info.MAC, "tags": []string{p.Tag}})
		}
	}
	return out
}

// UserData is what the owner gave, decoded; nil: nothing.
func (g *Guest) UserData() []byte {
	if g.Server.UserData == "" {
		return nil
	}
	b, err := base64.StdEncoding.DecodeString(g.Server.UserData)
	if err != nil {
		return []byte(g.Server.UserData)
	}
	return b
}

// NetworkData is network_data.json.
func (g *Guest) NetworkData() ([]byte, error) {
	links, networks, services := []m{}, []m{}, []m{}
	seen := map[string]bool{}
	for _, p := range g.Ports {
		if p.PortID == "" || p.Info.MAC == "" {
			continue
		}
		link := "tap" + p.PortID[:min(11, len(p.PortID))]
		l := m{"id": link, "vif_id": p.PortID, "type": "ovs", "ethernet_mac_address": p.Info.MAC, "mtu": nil}
		if p.Info.MTU > 0 {
			l["mtu"] = p.Info.MTU
		}
		links = append(links, l)
		for _, a := range p.Info.Addresses {
			sub := subnet(p.Info.Subnets, a.SubnetID)
			networks = append(networks, network(len(networks), link, p.NetworkID, a.IP, sub))
			for _, d := range sub.DNS {
				if !seen[d] {
					seen[d] = true
					services = append(services, m{"type": "dns", "address": d})
				}
			}
		}
	}
	return json.Marshal(m{"links": links, "networks": networks, "services": services})
}

func subnet(list []compute.Subnet, id string) compute.Subnet {
	for _, s := range list {
		if s.ID == id {
			return s
		}
	}
	return compute.Subnet{}
}

func network(n int, link, id, ip string, sub compute.Subnet) m {
	doc := m{"id": "network" + strconv.Itoa(n), "link": link, "network_id": id}
	v6 := strings.Contains(ip, ":")
	switch {
	case v6 && sub.V6Mode != "":
		doc["type"] = "ipv6_" + sub.V6Mode
	case sub.DHCP && v6:
		doc["type"] = "ipv6_dhcp"
	case sub.DHCP:
		doc["type"] = "ipv4_dhcp"
		return doc
	case v6:
		doc["type"] = "ipv6"
	default:
		doc["type"] = "ipv4"
	}
	doc["ip_address"] = ip
	prefix, err := netip.ParsePrefix(sub.CIDR)
	if err == nil {
		doc["netmask"] = mask(prefix)
	}
	routes := []m{}
	if sub.Gateway != "" {
		any, none := "0.0.0.0", "0.0.0.0"
		if v6 {
			any, none = "::", "::"
		}
		routes = append(routes, m{"network": any, "netmask": none, "gateway": sub.Gateway})
	}
	for _, r := range sub.Routes {
		if p, err := netip.ParsePrefix(r.Destination); err == nil {
			routes = append(routes, m{"network": p.Addr().String(), "netmask": mask(p), "gateway": r.NextHop})
		}
	}
	doc["routes"] = routes
	services := []m{}
	for _, d := range sub.DNS {
		services = append(services, m{"type": "dns", "address": d})
	}
	doc["services"] = services
	return doc
}

func mask(p netip.Prefix) string {
	n, size := p.Bits(), 4
	if p.Addr().Is6() {
		size = 16
	}
	b := make([]byte, size)
	for i := range n {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a.String()
}

// Drive are the files of a config drive.
func (g *Guest) Drive() (map[string][]byte, error) {
	meta, err := g.MetaData()
	if err != nil {
		return nil, err
	}
	net, err := g.NetworkData()
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{
		"openstack/latest/meta_data.json": meta, "openstack/latest/network_data.json": net,
		"openstack/latest/vendor_data.json": []byte("{}"), "openstack/latest/vendor_data2.json": []byte(`{"static":{}}`),
	}
	if u := g.UserData(); u != nil {
		files["openstack/latest/user_data"] = u
	}
	ec2, err := json.Marshal(g.ec2Document())
	if err != nil {
		return nil, err
	}
	files["ec2/latest/meta-data.json"] = ec2
	if u := g.UserData(); u != nil {
		files["ec2/latest/user-data"] = u
	}
	for i, f := range g.Server.Spec.Files {
		files["openstack/content/"+contentName(i)] = f.Contents
	}
	return files, nil
}

// EC2ID is the server's id in the EC2 form, "i-" and 8 hex digits.
func EC2ID(prefix, id string) string {
	h := sha256.Sum256([]byte(id))
	return fmt.Sprintf("%s-%x", prefix, h[:4])
}
