package guestdata

import (
	"sort"
	"strconv"
	"strings"
)

// ec2Document is the tree below /latest/meta-data; a branch is a map.
func (g *Guest) ec2Document() m {
	s := g.Server
	v4, floating := g.firstAddresses()
	doc := m{
		"ami-id": EC2ID("ami", s.ImageID), "ami-launch-index": strconv.Itoa(s.LaunchIndex), "ami-manifest-path": "FIXED",
		"block-device-mapping": m{"ami": strings.TrimPrefix(s.RootDevice, "/dev/"), "root": s.RootDevice},
		"hostname":             g.FQDN(), "instance-action": "none", "instance-id": EC2ID("i", s.ID),
		"instance-type": s.Spec.Flavor.Name, "local-hostname": g.FQDN(), "local-ipv4": v4,
		"placement": m{"availability-zone": s.Zone}, "public-hostname": g.FQDN(), "public-ipv4": floating,
		"reservation-id": s.ReservationID, "security-groups": strings.Join(g.groupNames(), "\n"),
	}
	if s.Spec.PublicKey != "" {
		doc["public-keys"] = m{"0": m{"_name": "0=" + s.KeyName, "openssh-key": s.Spec.PublicKey}}
	}
	return doc
}

func (g *Guest) firstAddresses() (fixed, floating string) {
	for _, p := range g.Ports {
		for _, a := range p.Info.Addresses {
			if fixed == "" && !strings.Contains(a.IP, ":") {
				fixed = a.IP
			}
			if floating == "" && len(a.Floating) > 0 {
				floating = a.Floating[0]
			}
		}
	}
	return fixed, floating
}

func (g *Guest) groupNames() []string {
	var out []string
	for _, sg := range g.Server.Spec.SecurityGroups {
		out = append(out, sg.Name)
	}
	if out == nil {
		out = []string{"default"}
	}
	return out
}

// EC2 answers a path below /latest/meta-data ("", "placement",
// "placement/availability-zone"); ok is false where there is nothing.
func (g *Guest) EC2(path string) (text string, ok bool) {
	var at any = g.ec2Document()
	for seg := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if seg == "" {
			continue
		}
		branch, is := at.(m)
		if !is {
			return "", false
		}
		if at, is = branch[seg]; !is || seg == "_name" {
			return "", false
		}
	}
	if text, is := at.(string); is {
		return text, true
	}
	branch := at.(m)
	var lines []string
	for k, v := range branch {
		sub, isBranch := v.(m)
		switch {
		case k == "_name":
			continue
		case isBranch && sub["_name"] != nil:
			lines = append(lines, sub["_name"].(string))
		case isBranch:
			lines = append(lines, k+"/")
		default:
			lines = append(lines, k)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n"), true
}
