package api

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/tropocloud/tropo/compute"
	"github.com/tropocloud/tropo/compute/manager"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// imageMetadataUntil is the last microversion with the properties of images.
const imageMetadataUntil = "2.38"

// imageProxyRoutes are the images of the image service as they looked before
// it.
func (a *api) imageProxyRoutes() []rest.Route {
	const p = "/v2.1/images"
	old, meta := rest.Until(proxyUntil), rest.Until(imageMetadataUntil)
	none := rest.Status(http.StatusNoContent)
	images := can("images")
	return []rest.Route{
		rest.GET(p, a.listImages, images, old),
		rest.GET(p+"/detail", a.listImagesDetail, images, old),
		rest.GET(p+"/{image}", a.showImage, images, old),
		rest.DELETE(p+"/{image}", a.deleteImage, images, old, none),
		rest.GET(p+"/{image}/metadata", a.listImageMetadata, images, meta),
		rest.POST(p+"/{image}/metadata", a.mergeImageMetadata, images, meta, a.s.body("metadata_all"), rest.Status(http.StatusOK)),
		rest.PUT(p+"/{image}/metadata", a.replaceImageMetadata, images, meta, a.s.body("metadata_all")),
		rest.GET(p+"/{image}/metadata/{item}", a.showImageMetadata, images, meta),
		rest.PUT(p+"/{image}/metadata/{item}", a.setImageMetadata, images, meta, a.s.body("metadata_item")),
		rest.DELETE(p+"/{image}/metadata/{item}", a.deleteImageMetadata, images, meta, none),
	}
}

// imageStates are the states of images by the image service's names for them.
var imageStates = [...]struct {
	image, here string
	progress    int
}{
	{"active", "ACTIVE", 100},
	{"queued", "SAVING", 25},
	{"saving", "SAVING", 50},
	{"uploading", "SAVING", 50},
	{"importing", "SAVING", 50},
	{"deleted", "DELETED", 0},
	{"pending_delete", "DELETED", 0},
	{"killed", "ERROR", 0},
}

func imageState(s string) (string, int) {
	for _, x := range imageStates {
		if x.image == s {
			return x.here, x.progress
		}
	}
	return "UNKNOWN", 0
}

func imageLinks(r *rest.Request, id string) []m {
	base := strings.TrimSuffix(r.Base(), "/compute")
	return []m{
		{"rel": "self", "href": r.Link("/v2.1/images/" + id)},
		{"rel": "bookmark", "href": r.Link("/images/" + id)},
		{"rel": "alternate", "type": "application/vnd.openstack.image", "href": base + "/image/images/" + id},
	}
}

func imageDoc(r *rest.Request, i *manager.ImageDoc) m {
	status, progress := imageState(i.Status)
	doc := m{
		"id": i.ID, "name": i.Name, "status": status, "progress": progress, "minDisk": i.MinDisk, "minRam": i.MinRAM, "metadata": orEmpty(i.Props),
		"created": moment(i.Created), "updated": moment(i.Updated), "links": imageLinks(r, i.ID), "OS-EXT-IMG-SIZE:size": i.Size,
	}
	if v, ok := i.Props["auto_disk_config"]; ok {
		auto, err := rest.ParseBool(v)
		doc["OS-DCF:diskConfig"] = word(err == nil && auto, "AUTO", "MANUAL")
	}
	if id := i.Props["instance_uuid"]; id != "" {
		doc["server"] = m{"id": id, "links": []m{{"rel": "self", "href": r.Link("/v2.1/servers/" + id)}, {"rel": "bookmark", "href": r.Link("/servers/" + id)}}}
	}
	return doc
}

func (a *api) listImages(r *rest.Request) (any, error) { return a.images(r, false) }

func (a *api) listImagesDetail(r *rest.Request) (any, error) { return a.images(r, true) }

func (a *api) images(r *rest.Request, detail bool) (any, error) {
	q, limit, err := a.imageQuery(r)
	if err != nil {
		return nil, err
	}
	list, err := a.m.Images(r.Context(), q)
	if err != nil {
		return nil, err
	}
	out := []m{}
	for i := range list {
		if detail {
			out = append(out, imageDoc(r, &list[i]))
		} else {
			out = append(out, m{"id": list[i].ID, "name": list[i].Name, "links": imageLinks(r, list[i].ID)})
		}
	}
	doc := m{"images": out}
	if len(list) == limit && len(list) > 0 {
		doc["images_links"] = []m{{"rel": "next", "href": r.NextLink(list[len(list)-1].ID)}}
	}
	return doc, nil
}

// imageQuery turns this API's filters into the image service's.
func (a *api) imageQuery(r *rest.Request) (url.Values, int, error) {
	p, err := r.Page(rest.PageOptions{Max: a.m.Config().MaxLimit})
	if err != nil {
		return nil, 0, err
	}
	if p.Limit == 0 {
		p.Limit = a.m.Config().MaxLimit
	}
	q := url.Values{"limit": {strconv.Itoa(p.Limit)}}
	if p.Marker != "" {
		q.Set("marker", p.Marker)
	}
	for name, values := range r.Query() {
		v := values[0]
		if v == "" {
			continue
		}
		switch name {
		case "name":
			q.Set("name", v)
		case "status":
			for _, x := range imageStates {
				if x.here == strings.ToUpper(v) {
					q.Set("status", x.image)
					break
				}
			}
		case "changes-since":
			t, err := parseTime(name, v)
			if err != nil {
				return nil, 0, err
			}
			q.Set("updated_at", "gte:"+moment(*t))
		case "server":
			q.Set("instance_uuid", path.Base(v))
		case "type":
			q.Set("image_type", v)
		case "minRam":
			q.Set("min_ram", v)
		case "minDisk":
			q.Set("min_disk", v)
		default:
			if k, ok := strings.CutPrefix(name, "property-"); ok && k != "" {
				q.Set(k, v)
			}
		}
	}
	return q, p.Limit, nil
}

func (a *api) showImage(r *rest.Request) (any, error) {
	i, err := a.m.Image(r.Context(), r.Var("image"))
	if err != nil {
		return nil, err
	}
	return m{"image": imageDoc(r, i)}, nil
}

func (a *api) deleteImage(r *rest.Request) (any, error) {
	return nil, a.m.DeleteImage(r.Context(), r.Var("image"))
}

func (a *api) listImageMetadata(r *rest.Request) (any, error) {
	i, err := a.m.Image(r.Context(), r.Var("image"))
	if err != nil {
		return nil, err
	}
	return m{"metadata": orEmpty(i.Props)}, nil
}

// changeImageMetadata sets properties, and with replace removes all others.
func (a *api) changeImageMetadata(r *rest.Request, set map[string]string, replace bool) (map[string]string, error) {
	i, err := a.m.Image(r.Context(), r.Var("image"))
	if err != nil {
		return nil, err
	}
	q, err := a.m.Quota(r.Context(), r.Caller().Project.ID, "")
	if err != nil {
		return nil, err
	}
	all, gone := map[string]string{}, []string{}
	for k, v := range i.Props {
		if _, ok := set[k]; !ok && replace {
			gone = append(gone, k)
		} else {
			all[k] = v
		}
	}
	for k, v := range set {
		all[k] = v
	}
	if most := q.Limits[compute.QuotaMetadata]; most >= 0 && len(all) > most {
		return nil, fault.Forbiddenf("Image metadata limit exceeded")
	}
	return all, a.m.SetImageProps(r.Context(), i, set, gone)
}

func (a *api) imageMetadata(r *rest.Request, replace bool) (any, error) {
	var in struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	all, err := a.changeImageMetadata(r, in.Metadata, replace)
	if err != nil {
		return nil, err
	}
	return m{"metadata": all}, nil
}

func (a *api) mergeImageMetadata(r *rest.Request) (any, error) { return a.imageMetadata(r, false) }

func (a *api) replaceImageMetadata(r *rest.Request) (any, error) { return a.imageMetadata(r, true) }

func (a *api) showImageMetadata(r *rest.Request) (any, error) {
	i, err := a.m.Image(r.Context(), r.Var("image"))
	if err != nil {
		return nil, err
	}
	v, ok := i.Props[r.Var("item")]
	if !ok {
		return nil, fault.New(fault.NotFound, "Metadata item was not found")
	}
	return m{"meta": m{r.Var("item"): v}}, nil
}

func (a *api) setImageMetadata(r *rest.Request) (any, error) {
	var in struct {
		Meta map[string]string `json:"meta"`
	}
	if err := r.Decode(&in); err != nil {
		return nil, err
	}
	if _, ok := in.Meta[r.Var("item")]; !ok {
		return nil, fault.Invalidf("Request body and URI mismatch")
	}
	if _, err := a.changeImageMetadata(r, in.Meta, false); err != nil {
		return nil, err
	}
	return m{"meta": in.Meta}, nil
}

func (a *api) deleteImageMetadata(r *rest.Request) (any, error) {
	i, err := a.m.Image(r.Context(), r.Var("image"))
	if err != nil {
		return nil, err
	}
	if _, ok := i.Props[r.Var("item")]; !ok {
		return nil, fault.New(fault.NotFound, "Invalid metadata key")
	}
	return nil, a.m.SetImageProps(r.Context(), i, nil, []string{r.Var("item")})
}
