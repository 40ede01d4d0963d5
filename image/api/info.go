package api

import (
	"fmt"
	"slices"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/rest"
)

// minor is the newest minor version of v2 whose parts are all here; 2.14 would
// be the cache API.
const minor = 13

func (a *API) versions(r *rest.Request) (any, error) {
	list := []any{}
	for n := minor; n >= 0; n-- {
		status := "SUPPORTED"
		if n == minor {
			status = "CURRENT"
		}
		list = append(list, doc{"id": fmt.Sprintf("v2.%d", n), "status": status, "links": rest.SelfLink(r.Link("/v2/"))})
	}
	return doc{"versions": list}, nil
}

func (a *API) infoImport(*rest.Request) (any, error) {
	methods := a.manager.ImportMethods()
	if methods == nil {
		methods = []string{}
	}
	return doc{"import-methods": doc{"description": "Import methods available.", "type": "array", "value": methods}}, nil
}

func (a *API) infoStores(*rest.Request) (any, error) {
	list := []any{}
	for n, name := range a.manager.Stores() {
		s := doc{"id": name}
		if n == 0 {
			s["default"] = "true"
		}
		list = append(list, s)
	}
	return doc{"stores": list}, nil
}

func (a *API) infoStoresDetail(*rest.Request) (any, error) {
	list := []any{}
	for n, name := range a.manager.Stores() {
		s := doc{"id": name, "type": "file", "description": "", "properties": doc{}}
		if n == 0 {
			s["default"] = "true"
		}
		list = append(list, s)
	}
	return doc{"stores": list}, nil
}

// infoUsage tells sizes in MiB; -1 is no limit.
func (a *API) infoUsage(r *rest.Request) (any, error) {
	u, err := a.manager.Usage(r.Context(), r.Caller().Project.ID)
	if err != nil {
		return nil, err
	}
	limit := int64(-1)
	if q := a.manager.Config().StorageQuota; q > 0 {
		limit = q >> 20
	}
	of := func(limit, usage int64) doc { return doc{"limit": limit, "usage": usage} }
	return doc{"usage": doc{
		"image_size_total": of(limit, u.Bytes>>20), "image_stage_total": of(limit, u.Staging>>20),
		"image_count_total": of(-1, int64(u.Images)), "image_count_uploading": of(-1, int64(u.Uploading)),
	}}, nil
}

func (a *API) imageTasks(r *rest.Request) (any, error) {
	list, err := a.manager.ImageTasks(r.Context(), r.Object().(*image.Image))
	if err != nil {
		return nil, err
	}
	views := []any{}
	for n := range list {
		views = append(views, viewTask(&list[n]))
	}
	return doc{"tasks": views}, nil
}

func (a *API) listTasks(r *rest.Request) (any, error) {
	c := a.manager.Config()
	page, err := readPage(r, rest.PageOptions{
		Max: c.LimitMax, Default: c.LimitDefault, Sort: []db.Sort{{Column: "created_at", Desc: true}},
		Keys: map[string]string{"id": "id", "status": "status", "created_at": "created_at", "updated_at": "updated_at", "expires_at": "expires_at"},
	})
	if err != nil {
		return nil, err
	}
	status := r.Query().Get("status")
	if status != "" && !slices.Contains([]string{"pending", "processing", "success", "failure"}, status) {
		return nil, fault.Invalidf("Invalid status value: %s", status)
	}
	list := []image.Task{}
	if page.Limit > 0 {
		if list, err = a.manager.Tasks(r.Context(), status, page); err != nil {
			return nil, err
		}
	}
	views := []any{}
	for n := range list {
		v := viewTask(&list[n])
		for _, k := range []string{"input", "result", "message"} {
			delete(v, k)
		}
		views = append(views, v)
	}
	out := doc{"tasks": views, "first": link("/v2/tasks", r.Query(), ""), "schema": "/v2/schemas/tasks"}
	if page.Limit > 0 && len(list) == page.Limit {
		out["next"] = link("/v2/tasks", r.Query(), list[len(list)-1].ID)
	}
	return out, nil
}

func (a *API) showTask(r *rest.Request) (any, error) {
	t, err := a.manager.Task(r.Context(), r.Var("id"))
	if err != nil {
		return nil, err
	}
	return viewTask(t), nil
}
