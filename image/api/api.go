// Package api is the Image API v2: routes as one table, request schemas,
// policy defaults and views.
package api

import (
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/tropocloud/tropo/auth"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/manager"
	"github.com/tropocloud/tropo/obs"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

//go:embed schema/*.json
var schemaFiles embed.FS

// Options make the API.
type Options struct {
	Manager   *manager.Manager
	Validator auth.Validator
	Enforcer  *policy.Enforcer
	AuthURL   string
	PublicURL string
	Log       *slog.Logger
	Metrics   *obs.Metrics
	// Once answers repeated requests with an Idempotency-Key; nil: none.
	Once    *rest.Once
	Tracing *obs.Tracing
}

// API holds what the handlers need.
type API struct {
	manager *manager.Manager
}

// New makes the HTTP handler.
func New(o Options) (*rest.API, error) {
	sub, err := fs.Sub(schemaFiles, "schema")
	if err != nil {
		return nil, err
	}
	a := &API{manager: o.Manager}
	return rest.New(rest.Options{
		Service: "image", Routes: a.routes(), Errors: rest.GlanceErrors{}, Validator: o.Validator, Enforcer: o.Enforcer,
		Schemas: sub, AuthURL: o.AuthURL, PublicURL: o.PublicURL, Log: o.Log, Metrics: o.Metrics, Tracing: o.Tracing, Once: o.Once,
	})
}

func (a *API) routes() []rest.Route {
	img, member := rest.Load(a.loadImage), rest.Load(a.loadMember)
	return append(a.metadefRoutes(), []rest.Route{
		rest.GET("/", a.versions, rest.Open(), rest.Status(300)),
		rest.GET("/versions", a.versions, rest.Open(), rest.Status(200)),
		a.manager.Feed().Route(),

		rest.GET("/v2/images", a.listImages, rest.Policy("get_images")),
		rest.POST("/v2/images", a.createImage, rest.Policy("add_image"), rest.Load(a.loadOwner), rest.Schema("image_create"), rest.Status(201)),
		rest.DELETE("/v2/images", a.noImage, rest.Policy("default")),
		rest.GET("/v2/images/{id}", a.showImage, img, rest.Policy("get_image"), rest.Hide()),
		rest.PATCH("/v2/images/{id}", a.patchImage, img, rest.Policy("modify_image"), rest.Schema("image_patch")),
		rest.DELETE("/v2/images/{id}", a.deleteImage, img, rest.Policy("delete_image")),
		rest.GET("/v2/images/{id}/file", a.download, img, rest.Policy("download_image")),
		rest.PUT("/v2/images/{id}/file", a.upload, img, rest.Policy("upload_image"), rest.RawBody(), rest.Status(204)),
		rest.GET("/v2/tropo-data/{key}", a.readCopy, rest.Policy("tropo:image_data")),
		rest.PUT("/v2/tropo-data/{key}", a.writeCopy, rest.Policy("tropo:image_data"), rest.RawBody(), rest.Status(204)),
		rest.PUT("/v2/images/{id}/stage", notByNode(a.stage), img, rest.Policy("upload_image"), rest.RawBody(), rest.Status(204)),
		rest.POST("/v2/images/{id}/import", notByNode(a.importImage), img, rest.Policy("modify_image"), rest.Schema("image_import"), rest.Status(202)),
		rest.GET("/v2/images/{id}/tasks", a.imageTasks, img, rest.Policy("get_image"), rest.Hide()),
		rest.POST("/v2/images/{id}/actions/deactivate", a.deactivate, img, rest.Policy("deactivate"), rest.Status(204)),
		rest.POST("/v2/images/{id}/actions/reactivate", a.reactivate, img, rest.Policy("reactivate"), rest.Status(204)),
		rest.PUT("/v2/images/{id}/tags/{tag}", notByNode(a.addTag), img, rest.Policy("modify_image"), rest.Status(204)),
		rest.DELETE("/v2/images/{id}/tags/{tag}", notByNode(a.removeTag), img, rest.Policy("modify_image"), rest.Status(204)),

		rest.GET("/v2/images/{id}/members", a.listMembers, img, rest.Policy("get_members"), rest.Hide()),
		rest.POST("/v2/images/{id}/members", a.addMember, img, rest.Policy("add_member"), rest.Schema("member_create")),
		rest.GET("/v2/images/{id}/members/{member}", a.showMember, member, rest.Policy("get_member"), rest.Hide()),
		rest.PUT("/v2/images/{id}/members/{member}", a.updateMember, member, rest.Policy("modify_member"), rest.Schema("member_update")),
		rest.DELETE("/v2/images/{id}/members/{member}", a.removeMember, img, rest.Policy("delete_member"), rest.Status(204)),

		rest.GET("/v2/schemas/{name...}", a.showSchema, rest.Policy("default")),
		rest.GET("/v2/info/import", a.infoImport, rest.Policy("default")),
		rest.GET("/v2/info/stores", a.infoStores, rest.Policy("default")),
		rest.GET("/v2/info/stores/detail", a.infoStoresDetail, rest.Policy("stores_info_detail")),
		rest.GET("/v2/info/usage", a.infoUsage, rest.Policy("default")),
		rest.GET("/v2/tasks", a.listTasks, rest.Policy("tasks_api_access")),
		rest.GET("/v2/tasks/{id}", a.showTask, rest.Policy("tasks_api_access")),
	}...)
}

func fmtRole(check, role string) string { return fmt.Sprintf(check, role) }

// viewer says what the caller may see.
func viewer(r *rest.Request) image.Viewer {
	c := r.Caller()
	return image.Viewer{Project: c.Project.ID, Admin: c.IsAdmin() || c.HasRole(nodeRole)}
}

// notByNode refuses an operation to those who may do it only as a node (see
// byNode): what they need is reading, and disk_format and data of a snapshot.
func notByNode(h rest.Handler) rest.Handler {
	return func(r *rest.Request) (any, error) {
		if isNode(r) {
			return nil, errNode()
		}
		return h(r)
	}
}

func isNode(r *rest.Request) bool { return r.Caller().HasRole(nodeRole) && !r.Caller().IsAdmin() }

func errNode() error { return fault.Forbiddenf("You are not authorized to complete this action.") }

// loadOwner is the target of a creation: an image of the caller's own project.
func (a *API) loadOwner(r *rest.Request) (any, policy.Target, error) {
	id := r.Caller().Project.ID
	return nil, policy.Target{"project_id": id, "owner": id}, nil
}

// loadImage finds an image that the caller may know of.
func (a *API) loadImage(r *rest.Request) (any, policy.Target, error) {
	i, m, err := a.manager.Image(r.Context(), viewer(r), r.Var("id"))
	if err != nil {
		return nil, nil, err
	}
	return i, target(i, m), nil
}

func target(i *image.Image, m *image.Member) policy.Target {
	t := policy.Target{"project_id": i.Owner, "tenant": i.Owner, "owner": i.Owner, "visibility": string(i.Visibility), "image_id": i.ID}
	if m != nil {
		t["member_id"] = m.MemberID
	}
	return t
}

// sharing is an image with one of its members.
type sharing struct {
	image  *image.Image
	member *image.Member
}

// loadMember finds a member. One who is neither owner nor that member does not
// learn of it.
func (a *API) loadMember(r *rest.Request) (any, policy.Target, error) {
	i, _, err := a.manager.Image(r.Context(), viewer(r), r.Var("id"))
	if err != nil {
		return nil, nil, err
	}
	m, err := a.manager.Member(r.Context(), i, r.Var("member"))
	if err != nil {
		return nil, nil, err
	}
	if v := viewer(r); !v.Admin && !v.Owns(i) && v.Project != m.MemberID {
		return nil, nil, fault.New(fault.NotFound, "%s not found in the member list of the image %s.", m.MemberID, i.ID)
	}
	return sharing{i, m}, target(i, m), nil
}
