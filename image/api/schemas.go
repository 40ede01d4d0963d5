package api

import (
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/rest"
)

// showSchema answers with the JSON schema of an answer (not of a request):
// clients learn from it which attributes there are and which they may write.
func (a *API) showSchema(r *rest.Request) (any, error) {
	name := r.Var("name")
	if s := metadefSchema(name); s != nil {
		return s, nil
	}
	switch name {
	case "image":
		return imageSchema(), nil
	case "images":
		return collection("images", imageSchema()), nil
	case "member":
		return memberSchema(), nil
	case "members":
		return list("members", memberSchema()), nil
	case "task":
		return taskSchema(), nil
	case "tasks":
		return collection("tasks", taskSchema()), nil
	}
	return nil, fault.New(fault.NotFound, "There is no schema %s.", name)
}

// list wraps the schema of an item into that of a list without pages.
func list(name string, item doc) doc {
	return doc{"name": name, "properties": doc{
		name:     doc{"type": "array", "items": item},
		"schema": doc{"type": "string"},
	}, "links": []any{doc{"rel": "describedby", "href": "{schema}"}}}
}

// collection is a list with pages.
func collection(name string, item doc) doc {
	out := list(name, item)
	p := out["properties"].(doc)
	p["first"], p["next"] = doc{"type": "string"}, doc{"type": "string"}
	out["links"] = []any{
		doc{"rel": "first", "href": "{first}"}, doc{"rel": "next", "href": "{next}"}, doc{"rel": "describedby", "href": "{schema}"},
	}
	return out
}

func text(description string) doc { return doc{"type": "string", "description": description} }

func shown(property doc) doc {
	property["readOnly"] = true
	return property
}

func nullable(kind, description string) doc {
	return doc{"type": []string{"null", kind}, "description": description}
}

func choice(values []string, description string) doc {
	enum := []any{nil}
	for _, v := range values {
		enum = append(enum, v)
	}
	return doc{"type": []string{"null", "string"}, "enum": enum, "description": description}
}

const uuidPattern = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"

func imageSchema() doc {
	id := text("Identifier of the image")
	id["pattern"] = uuidPattern
	name := nullable("string", "Name of the image")
	name["maxLength"] = 255
	owner := nullable("string", "Project that owns the image")
	owner["maxLength"] = 255
	visibility := text("Who sees the image")
	visibility["enum"] = []string{"community", "public", "private", "shared"}
	status := text("Status of the image")
	status["enum"] = []string{"queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated"}
	return doc{
		"name": "image",
		"properties": doc{
			"id": id, "name": name, "owner": owner, "visibility": visibility, "status": shown(status),
			"protected":        doc{"type": "boolean", "description": "Whether the image cannot be deleted"},
			"os_hidden":        doc{"type": "boolean", "description": "Whether lists leave the image out"},
			"disk_format":      choice(image.DiskFormats(), "Format of the disk"),
			"container_format": choice(image.ContainerFormats(), "Format of the container"),
			"min_disk":         doc{"type": "integer", "description": "Disk in GB that a server of it needs"},
			"min_ram":          doc{"type": "integer", "description": "Memory in MB that a server of it needs"},
			"tags":             doc{"type": "array", "items": doc{"type": "string", "maxLength": 255}, "description": "Tags"},
			"size":             shown(nullable("integer", "Size of the data in bytes")),
			"virtual_size":     shown(nullable("integer", "Size of the disk in bytes")),
			"checksum":         shown(nullable("string", "MD5 digest of the data")),
			"os_hash_algo":     shown(nullable("string", "Algorithm of os_hash_value")),
			"os_hash_value":    shown(nullable("string", "Digest of the data")),
			"created_at":       shown(text("When the image was created")),
			"updated_at":       shown(text("When the image was last changed")),
			"self":             shown(text("Path of the image")),
			"file":             shown(text("Path of the data")),
			"schema":           shown(text("Path of this schema")),
			"stores":           shown(text("Stores that hold the data")),
			"architecture":     text("Architecture of the guest"),
			"kernel_id":        nullable("string", "Image with the kernel"),
			"ramdisk_id":       nullable("string", "Image with the ramdisk"),
			"instance_uuid":    text("Server that the image was made of"),
			"os_distro":        text("Distribution of the guest"),
			"os_version":       text("Version of the guest's operating system"),
		},
		"additionalProperties": doc{"type": "string"},
		"links": []any{
			doc{"rel": "self", "href": "{self}"}, doc{"rel": "enclosure", "href": "{file}"}, doc{"rel": "describedby", "href": "{schema}"},
		},
	}
}

func memberSchema() doc {
	id := text("Identifier of the image")
	id["pattern"] = uuidPattern
	status := text("What the member says to the sharing")
	status["enum"] = []string{"pending", "accepted", "rejected"}
	return doc{"name": "member", "properties": doc{
		"image_id": id, "member_id": text("Project of the member"), "status": status,
		"created_at": text("When the image was shared"), "updated_at": text("When the status was last changed"),
		"schema": shown(doc{"type": "string"}),
	}}
}

func taskSchema() doc {
	status := text("Status of the task")
	status["enum"] = []string{"pending", "processing", "success", "failure"}
	kind := text("Type of the task")
	kind["enum"] = []string{"import", "api_image_import"}
	return doc{"name": "task", "properties": doc{
		"id": text("Identifier of the task"), "type": kind, "status": status, "owner": text("Project that owns the task"),
		"input": nullable("object", "What the task was asked to do"), "result": nullable("object", "What the task yielded"),
		"message":    text("Why the task failed"),
		"expires_at": nullable("string", "When the task will be forgotten"),
		"created_at": text("When the task was created"), "updated_at": text("When the task was last changed"),
		"self": shown(text("Path of the task")), "schema": shown(text("Path of this schema")),
		"image_id": text("Image that the task is about"), "request_id": text("Request that started the task"),
		"user_id": text("User who started the task"),
	}}
}
