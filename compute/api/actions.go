package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// plain is an action without arguments.
func (a *api) plain(f func(context.Context, *compute.Server) error) rest.Handler {
	return func(r *rest.Request) (any, error) {
		return nil, f(r.Context(), serverOf(r))
	}
}

func (a *api) reboot(r *rest.Request) (any, error) {
	var in struct {
		Reboot struct {
			Type string `json:"type"`
		} `json:"reboot"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return nil, a.m.RebootServer(r.Context(), serverOf(r), strings.EqualFold(in.Reboot.Type, "HARD"))
}

func (a *api) lock(r *rest.Request) (any, error) {
	var in struct {
		Lock struct {
			Reason string `json:"locked_reason"`
		} `json:"lock"`
	}
	if from(r, "2.73") {
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
	}
	return nil, a.m.LockServer(r.Context(), serverOf(r), in.Lock.Reason)
}

func (a *api) unlock(r *rest.Request) (any, error) {
	return nil, a.m.UnlockServer(r.Context(), serverOf(r), r.Allowed(rule("os-lock-server:unlock:unlock_override")))
}

func (a *api) createImage(r *rest.Request) (any, error) {
	var in struct {
		Image struct {
			Name     string            `json:"name"`
			Metadata map[string]string `json:"metadata"`
		} `json:"createImage"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	id, err := a.m.CreateImage(r.Context(), serverOf(r), in.Image.Name, in.Image.Metadata)
	if err != nil {
		return nil, err
	}
	return a.imageAnswer(r, id)
}

func (a *api) createBackup(r *rest.Request) (any, error) {
	var in struct {
		Backup struct {
			Name     string            `json:"name"`
			Type     string            `json:"backup_type"`
			Rotation number            `json:"rotation"`
			Metadata map[string]string `json:"metadata"`
		} `json:"createBackup"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Backup
	id, err := a.m.BackupServer(r.Context(), serverOf(r), v.Name, v.Type, int(v.Rotation), v.Metadata)
	if err != nil || v.Rotation == 0 { // nothing will be left of it
		return nil, err
	}
	return a.imageAnswer(r, id)
}

// imageAnswer tells of an image that is being made: from 2.45 on in the body.
func (a *api) imageAnswer(r *rest.Request, id string) (any, error) {
	if from(r, "2.45") {
		return m{"image_id": id}, nil
	}
	base := strings.TrimSuffix(r.Base(), "/compute")
	return &rest.Response{Header: http.Header{"Location": {base + "/image/v2/images/" + id}}}, nil
}

func (a *api) rebuild(r *rest.Request) (any, error) {
	var in struct {
		Rebuild struct {
			Image       string            `json:"imageRef"`
			Name        *string           `json:"name"`
			AdminPass   string            `json:"adminPass"`
			Metadata    map[string]string `json:"metadata"`
			DiskConfig  string            `json:"OS-DCF:diskConfig"`
			IPv4        *string           `json:"accessIPv4"`
			IPv6        *string           `json:"accessIPv6"`
			Files       []fileDoc         `json:"personality"`
			Description nullable          `json:"description"`
			KeyName     nullable          `json:"key_name"`
			UserData    nullable          `json:"user_data"`
			Certs       []string          `json:"trusted_image_certificates"`
			Hostname    *string           `json:"hostname"`
		} `json:"rebuild"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Rebuild
	list, err := files(v.Files)
	if err != nil {
		return nil, err
	}
	err = a.m.RebuildServer(r.Context(), serverOf(r), manager.Rebuild{
		ImageID: v.Image, Name: v.Name, Description: v.Description.pointer(), Hostname: v.Hostname, AccessIPv4: v.IPv4, AccessIPv6: v.IPv6,
		Metadata: v.Metadata, Files: list, DiskConfig: v.DiskConfig, KeyName: v.KeyName.pointer(), UserData: v.UserData.pointer(), Certs: v.Certs,
	})
	if err != nil {
		return nil, err
	}
	s, err := a.m.Server(r.Context(), serverOf(r).ID)
	if err != nil {
		return nil, err
	}
	doc, err := a.changedServer(r, s)
	if err != nil {
		return nil, err
	}
	if v.AdminPass == "" && a.m.Config().AdminPassword {
		v.AdminPass = manager.NewPassword()
	}
	if v.AdminPass != "" {
		doc["adminPass"] = v.AdminPass
	}
	if from(r, "2.54") {
		doc["key_name"] = orNull(s.KeyName)
	}
	if from(r, "2.57") {
		doc["user_data"] = orNull(s.UserData)
		delete(doc, "OS-EXT-SRV-ATTR:user_data") // the same under its older name
	}
	r.Answer().Set("Location", r.Link("/v2.1/servers/"+s.ID))
	return m{"server": doc}, nil
}

func (a *api) resize(r *rest.Request) (any, error) {
	var in struct {
		Resize struct {
			Flavor     text   `json:"flavorRef"`
			DiskConfig string `json:"OS-DCF:diskConfig"`
		} `json:"resize"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return nil, a.m.ResizeServer(r.Context(), serverOf(r), string(in.Resize.Flavor), in.Resize.DiskConfig)
}

func (a *api) unshelve(r *rest.Request) (any, error) {
	var in struct {
		Unshelve *struct {
			Zone nullable `json:"availability_zone"`
			Host string   `json:"host"`
		} `json:"unshelve"`
	}
	if !from(r, "2.77") {
		return nil, a.m.UnshelveServer(r.Context(), serverOf(r), manager.Unshelve{})
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	var to manager.Unshelve
	if u := in.Unshelve; u != nil {
		if to.Host = u.Host; to.Host != "" {
			if err := r.Check(rule("os-unshelve:unshelve_to_host"), r.Target()); err != nil {
				return nil, err
			}
		}
		if u.Zone.set {
			zone := ""
			if u.Zone.value != nil {
				zone = *u.Zone.value
			}
			to.Zone = &zone
		}
	}
	return nil, a.m.UnshelveServer(r.Context(), serverOf(r), to)
}

// shelveOffload: shelved servers are offloaded at once here, so there is
// nothing left to do for one that is.
func (a *api) shelveOffload(r *rest.Request) (any, error) {
	s := serverOf(r)
	if s.VMState != compute.StateShelvedOffloaded && s.VMState != compute.StateShelved {
		return nil, fault.Conflictf("Cannot 'shelveOffload' instance %s while it is in vm_state %s", s.ID, s.VMState)
	}
	return accepted()
}

func (a *api) consoleOutput(r *rest.Request) (any, error) {
	var in struct {
		Get struct {
			Length *number `json:"length"`
		} `json:"os-getConsoleOutput"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	lines := 0
	if in.Get.Length != nil {
		if lines = int(*in.Get.Length); lines == 0 {
			return m{"output": ""}, nil
		}
	}
	out, err := a.m.ConsoleOutput(r.Context(), serverOf(r), max(lines, 0))
	if err != nil {
		return nil, err
	}
	return m{"output": printable(out)}, nil
}

// printable leaves out the control characters that terminals act on, but for
// those of text.
func printable(b []byte) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != 0x1b || c == 0x7f {
			return -1
		}
		return c
	}, strings.ToValidUTF8(string(b), "?"))
}

func (a *api) changePassword(r *rest.Request) (any, error) {
	s := serverOf(r)
	if s.VMState != compute.StateActive || s.TaskState != "" {
		return nil, fault.Conflictf("Cannot 'changePassword' instance %s while it is in vm_state %s", s.ID, s.VMState)
	}
	return nil, fault.New(fault.NotImplemented, "Unable to set password on instance: its guest runs no agent.")
}

func (a *api) resetState(r *rest.Request) (any, error) {
	var in struct {
		Reset struct {
			State string `json:"state"`
		} `json:"os-resetState"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	return nil, a.m.ResetState(r.Context(), serverOf(r), compute.VMState(in.Reset.State))
}

func (a *api) forceDelete(r *rest.Request) (any, error) {
	return nil, a.m.DeleteServer(r.Context(), serverOf(r), true)
}

func (a *api) addSecurityGroup(r *rest.Request) (any, error) {
	name, err := groupName(r, "addSecurityGroup")
	if err != nil {
		return nil, err
	}
	return nil, a.m.AddSecurityGroup(r.Context(), serverOf(r), name)
}

func (a *api) removeSecurityGroup(r *rest.Request) (any, error) {
	name, err := groupName(r, "removeSecurityGroup")
	if err != nil {
		return nil, err
	}
	return nil, a.m.RemoveSecurityGroup(r.Context(), serverOf(r), name)
}

func groupName(r *rest.Request, action string) (string, error) {
	var in map[string]struct {
		Name string `json:"name"`
	}
	err := r.Decode(&in)
	return in[action].Name, err
}
