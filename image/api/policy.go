package api

import (
	"github.com/tropocloud/tropo/feed"
	"github.com/tropocloud/tropo/policy"
)

// Checks that several rules share.
const (
	ownerWrites  = "role:admin or (role:member and project_id:%(project_id)s)"
	ownerReads   = "role:admin or (role:reader and project_id:%(project_id)s)"
	whoSeesReads = "role:admin or (role:%s and (project_id:%%(project_id)s or project_id:%%(member_id)s or 'community':%%(visibility)s or 'public':%%(visibility)s or 'shared':%%(visibility)s))"
	// byNode is the agent of a node that runs guests: it reads the images that
	// they start from, and fills those that snapshots make.
	byNode       = " or role:" + nodeRole
	metadefReads = "role:admin or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"
)

// nodeRole is the role of nodes' own users (cluster/manager NodeRole).
const nodeRole = "tropo_node"

// Policy returns the default rules, with Glance's names and checks
// (docs.openstack.org/glance/latest/configuration/glance_policy.html).
func Policy() []policy.Rule {
	sees := func(role string) string { return fmtRole(whoSeesReads, role) }
	scopes := []string{"project"}
	rules := []policy.Rule{
		feed.Rule(),
		{Name: "default", Check: ""},
		{Name: "context_is_admin", Check: "role:admin"},
		{Name: "add_image", Check: "role:admin or (role:member and project_id:%(project_id)s and project_id:%(owner)s)", Description: "Create an image."},
		{Name: "delete_image", Check: ownerWrites, Description: "Delete an image."},
		{Name: "get_image", Check: sees("reader") + byNode, Description: "Show an image."},
		{Name: "get_images", Check: ownerReads, Description: "List images."},
		{Name: "modify_image", Check: ownerWrites + byNode, Description: "Change, stage, import and tag an image."},
		{Name: "publicize_image", Check: "role:admin", Description: "Make an image public."},
		{Name: "communitize_image", Check: ownerWrites, Description: "Make an image a community image."},
		{Name: "download_image", Check: sees("member") + byNode, Description: "Read an image's data."},
		{Name: "upload_image", Check: ownerWrites + byNode, Description: "Write an image's data."},
		{Name: "add_member", Check: ownerWrites, Description: "Share an image."},
		{Name: "delete_member", Check: ownerWrites, Description: "End the sharing of an image."},
		{Name: "get_member", Check: "role:admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))", Description: "Show a member."},
		{Name: "get_members", Check: "role:admin or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))", Description: "List members."},
		{Name: "modify_member", Check: "role:admin or (role:member and project_id:%(member_id)s)", Description: "Accept or reject an image."},
		{Name: "tropo:image_data", Check: "role:admin or role:service", Description: "Copy image data between control nodes."},
		{Name: "deactivate", Check: ownerWrites, Description: "Deactivate an image."},
		{Name: "reactivate", Check: ownerWrites, Description: "Reactivate an image."},
		{Name: "get_task", Check: "", Description: "Show a task."},
		{Name: "get_tasks", Check: "", Description: "List tasks."},
		{Name: "tasks_api_access", Check: "role:admin", Description: "Use the tasks API."},
		{Name: "stores_info_detail", Check: "role:admin", Description: "Show the stores in detail."},
	}
	rules = append(rules, metadefRules()...)
	for i := range rules {
		rules[i].Scopes = scopes
	}
	return rules
}

// metadefRules are those of the metadata definitions.
func metadefRules() []policy.Rule {
	const write = "rule:metadef_admin"
	return []policy.Rule{
		{Name: "metadef_default", Check: ""},
		{Name: "metadef_admin", Check: "role:admin"},
		{Name: "get_metadef_namespace", Check: metadefReads},
		{Name: "get_metadef_namespaces", Check: ownerReads},
		{Name: "add_metadef_namespace", Check: write},
		{Name: "modify_metadef_namespace", Check: write},
		{Name: "delete_metadef_namespace", Check: write},
		{Name: "get_metadef_object", Check: metadefReads},
		{Name: "get_metadef_objects", Check: metadefReads},
		{Name: "add_metadef_object", Check: write},
		{Name: "modify_metadef_object", Check: write},
		{Name: "delete_metadef_object", Check: write},
		{Name: "get_metadef_property", Check: metadefReads},
		{Name: "get_metadef_properties", Check: metadefReads},
		{Name: "add_metadef_property", Check: write},
		{Name: "modify_metadef_property", Check: write},
		{Name: "remove_metadef_property", Check: write},
		{Name: "get_metadef_tag", Check: metadefReads},
		{Name: "get_metadef_tags", Check: metadefReads},
		{Name: "add_metadef_tag", Check: write},
		{Name: "add_metadef_tags", Check: write},
		{Name: "modify_metadef_tag", Check: write},
		{Name: "delete_metadef_tag", Check: write},
		{Name: "delete_metadef_tags", Check: write},
		{Name: "list_metadef_resource_types", Check: ownerReads},
		{Name: "get_metadef_resource_type", Check: metadefReads},
		{Name: "add_metadef_resource_type_association", Check: write},
		{Name: "remove_metadef_resource_type_association", Check: write},
	}
}
