package api

import (
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// evacuate makes a server of a host that is down anew on another one. What the
// microversions differ in: onSharedStorage up to 2.13, where the password is
// answered; force from 2.29 to 2.67; from 2.95 on the server stays stopped.
func (a *api) evacuate(r *rest.Request) (any, error) {
	var in struct {
		Evacuate struct {
			Host      string  `json:"host"`
			Shared    boolean `json:"onSharedStorage"`
			Force     boolean `json:"force"`
			AdminPass *string `json:"adminPass"`
		} `json:"evacuate"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	v := &in.Evacuate
	if v.Shared && v.AdminPass != nil {
		return nil, fault.Invalidf("admin password can't be changed on existing disk")
	}
	if v.Force && v.Host == "" {
		return nil, fault.Invalidf("Can't force to a non-provided destination")
	}
	err := a.m.EvacuateServer(r.Context(), serverOf(r), manager.Evacuate{Host: v.Host, Force: bool(v.Force), Shared: bool(v.Shared), Stop: from(r, "2.95")})
	if err != nil || from(r, "2.14") || !a.m.Config().AdminPassword {
		return nil, err
	}
	pass := manager.NewPassword()
	if v.AdminPass != nil {
		pass = *v.AdminPass
	}
	return m{"adminPass": pass}, nil
}

// rescue restarts a server from another image's disk. The password is answered
// as ever; the image decides whether its guest takes it from the metadata.
func (a *api) rescue(r *rest.Request) (any, error) {
	var in struct {
		Rescue struct {
			Pass  string `json:"adminPass"`
			Image string `json:"rescue_image_ref"`
		} `json:"rescue"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if err := a.m.RescueServer(r.Context(), serverOf(r), in.Rescue.Image); err != nil {
		return nil, err
	}
	if in.Rescue.Pass == "" {
		in.Rescue.Pass = manager.NewPassword()
	}
	if !a.m.Config().AdminPassword {
		return m{}, nil
	}
	return m{"adminPass": in.Rescue.Pass}, nil
}

// serverMigrations are a server's live migrations under way: there are none.
func (a *api) serverMigrations(*rest.Request) (any, error) { return m{"migrations": []m{}}, nil }

func (a *api) serverMigration(r *rest.Request) (any, error) {
	return nil, fault.New(fault.NotFound, "Migration %s for server %s not found or it is not a live migration.", r.Var("migration"), serverOf(r).ID)
}
