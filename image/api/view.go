package api

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/tropocloud/tropo/image"
)

type doc = map[string]any

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// viewImage is an image as the API shows it: the properties stand beside the
// attributes.
func viewImage(i *image.Image) doc {
	out := doc{}
	for k, v := range i.Properties {
		out[k] = v
	}
	maps.Copy(out, doc{
		"id": i.ID, "name": i.Name, "status": i.Status, "visibility": i.Visibility, "owner": i.Owner, "size": i.Size,
		"virtual_size": i.VirtualSize, "disk_format": i.DiskFormat, "container_format": i.ContainerFormat, "checksum": i.Checksum,
		"os_hash_algo": i.HashAlgo, "os_hash_value": i.HashValue, "min_disk": i.MinDisk, "min_ram": i.MinRAM,
		"protected": i.Protected, "os_hidden": i.Hidden, "tags": i.Tags, "created_at": stamp(i.CreatedAt), "updated_at": stamp(i.UpdatedAt),
		"self": "/v2/images/" + i.ID, "file": "/v2/images/" + i.ID + "/file", "schema": "/v2/schemas/image",
	})
	if i.HasData() {
		out["stores"] = i.Store
	}
	return out
}

func viewMember(m *image.Member) doc {
	return doc{
		"image_id": m.ImageID, "member_id": m.MemberID, "status": m.Status, "created_at": stamp(m.CreatedAt),
		"updated_at": stamp(m.UpdatedAt), "schema": "/v2/schemas/member",
	}
}

func viewTask(t *image.Task) doc {
	var request any
	if json.Unmarshal([]byte(t.Input), &request) != nil {
		request = nil
	}
	out := doc{
		"id": t.ID, "type": "api_image_import", "status": t.Status, "owner": t.Owner, "user_id": t.UserID, "request_id": t.RequestID,
		"image_id": t.ImageID, "input": doc{"image_id": t.ImageID, "import_req": request}, "result": nil, "message": t.Message,
		"created_at": stamp(t.CreatedAt), "updated_at": stamp(t.UpdatedAt), "expires_at": nil,
		"self": "/v2/tasks/" + t.ID, "schema": "/v2/schemas/task",
	}
	if t.ExpiresAt != nil {
		out["expires_at"] = stamp(*t.ExpiresAt)
	}
	return out
}
