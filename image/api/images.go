package api

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/policy"
	"github.com/tropocloud/tropo/rest"
)

// noImage answers for /v2/images/, an image without an id.
func (a *API) noImage(*rest.Request) (any, error) {
	return nil, fault.New(fault.NotFound, "The resource could not be found.")
}

func (a *API) listImages(r *rest.Request) (any, error) {
	if strings.HasSuffix(r.HTTP.URL.Path, "/") {
		return a.noImage(r)
	}
	c := a.manager.Config()
	f, err := filter(r.Query())
	if err != nil {
		return nil, err
	}
	page, err := pageOf(r, c.LimitDefault, c.LimitMax)
	if err != nil {
		return nil, err
	}
	if page.Marker != "" {
		if _, _, err := a.manager.Image(r.Context(), viewer(r), page.Marker); err != nil {
			return nil, fault.Wrap(fault.Invalid, err, "Invalid marker. Image could not be found.")
		}
	}
	list := []image.Image{}
	if page.Limit > 0 {
		if list, err = a.manager.Images(r.Context(), viewer(r), f, page); err != nil {
			return nil, err
		}
	}
	views := make([]any, len(list))
	for n := range list {
		views[n] = viewImage(&list[n])
	}
	doc := map[string]any{"images": views, "first": link("/v2/images", r.Query(), ""), "schema": "/v2/schemas/images"}
	if page.Limit > 0 && len(list) == page.Limit {
		doc["next"] = link("/v2/images", r.Query(), list[len(list)-1].ID)
	}
	return doc, nil
}

// link is a page's path, relative to the service as Glance's are.
func link(path string, q url.Values, marker string) string {
	out := url.Values{}
	for k, v := range q {
		out[k] = v
	}
	out.Del("marker")
	if marker != "" {
		out.Set("marker", marker)
	}
	if len(out) == 0 {
		return path
	}
	return path + "?" + out.Encode()
}

// readPage is Request.Page where a limit of 0 asks for nothing, as in Glance.
func readPage(r *rest.Request, o rest.PageOptions) (db.Page, error) {
	page, err := r.Page(o)
	if n, nerr := strconv.Atoi(r.Query().Get("limit")); nerr == nil && n == 0 {
		page.Limit = 0
	}
	return page, err
}

// pageOf reads paging and sorting; Glance sorts descending where no direction
// is given.
func pageOf(r *rest.Request, byDefault, limit int) (db.Page, error) {
	q := r.Query()
	if q.Has("sort") && (q.Has("sort_key") || q.Has("sort_dir")) {
		return db.Page{}, fault.Invalidf("Old and new sorting syntax cannot be combined")
	}
	if len(q["sort_dir"]) > 1 && len(q["sort_dir"]) != max(1, len(q["sort_key"])) {
		return db.Page{}, fault.Invalidf("Number of sort dirs does not match the number of sort keys")
	}
	page, err := readPage(r, rest.PageOptions{
		Max: limit, Default: byDefault, Keys: image.SortKeys(), SortParam: "sort",
		Sort: []db.Sort{{Column: "created_at", Desc: true}},
	})
	if err == nil && !q.Has("sort") && !q.Has("sort_dir") {
		for n := range page.Sort {
			page.Sort[n].Desc = true
		}
	}
	return page, err
}

func (a *API) createImage(r *rest.Request) (any, error) {
	var in map[string]any
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	own := r.Caller().Project.ID
	i := &image.Image{ID: db.NewID(r.Context()), Visibility: image.Shared, Owner: own, Properties: map[string]string{}, Tags: []string{}}
	if id, ok := in["id"].(string); ok {
		i.ID = id
		delete(in, "id")
	}
	for name, value := range in {
		if err := set(i, name, value); err != nil {
			return nil, err
		}
	}
	if err := a.mayOwn(r, i); err != nil {
		return nil, err
	}
	if err := a.mayShow(r, image.Shared, i); err != nil {
		return nil, err
	}
	if err := a.manager.CreateImage(r.Context(), i); err != nil {
		return nil, err
	}
	h := r.Answer()
	h.Set("Location", r.Link("/v2/images/"+i.ID))
	for _, m := range a.manager.ImportMethods() {
		h.Add("OpenStack-image-import-methods", m)
	}
	return viewImage(i), nil
}

// mayOwn asks the rule again with the wanted owner: only who passes it whatever
// the owner is (an admin) may name another project.
func (a *API) mayOwn(r *rest.Request, i *image.Image) error {
	own := r.Caller().Project.ID
	if i.Owner == own {
		return nil
	}
	if err := r.Check("add_image", policy.Target{"project_id": own, "owner": i.Owner}); err != nil {
		return fault.Wrap(fault.Forbidden, err, "You are not permitted to create images owned by '%s'.", i.Owner)
	}
	return nil
}

// mayShow asks for the right to make an image public or a community image.
func (a *API) mayShow(r *rest.Request, before image.Visibility, i *image.Image) error {
	if i.Visibility == before {
		return nil
	}
	switch i.Visibility {
	case image.Public:
		return r.Check("publicize_image", r.Target())
	case image.Community:
		return r.Check("communitize_image", r.Target())
	}
	return nil
}

func (a *API) showImage(r *rest.Request) (any, error) {
	return viewImage(r.Object().(*image.Image)), nil
}

func (a *API) deleteImage(r *rest.Request) (any, error) {
	return nil, a.manager.DeleteImage(r.Context(), r.Object().(*image.Image))
}

func (a *API) deactivate(r *rest.Request) (any, error) {
	return nil, a.manager.Deactivate(r.Context(), r.Object().(*image.Image))
}

func (a *API) reactivate(r *rest.Request) (any, error) {
	return nil, a.manager.Reactivate(r.Context(), r.Object().(*image.Image))
}

func (a *API) addTag(r *rest.Request) (any, error) {
	tag := r.Var("tag")
	if len(tag) > 255 || tag == "" {
		return nil, fault.Invalidf("Invalid tag %q: it must have 1 to 255 characters.", fmt.Sprintf("%.300s", tag))
	}
	return nil, a.manager.AddTag(r.Context(), r.Object().(*image.Image), tag)
}

func (a *API) removeTag(r *rest.Request) (any, error) {
	return nil, a.manager.RemoveTag(r.Context(), r.Object().(*image.Image), r.Var("tag"))
}
