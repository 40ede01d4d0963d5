package api

import (
	"net/http"
	"sort"
	"strings"

	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/rest"
)

// When the two APIs were last changed but for microversions.
const (
	updatedV2 = "2011-01-21T11:33:21Z"
	updated   = "2013-07-23T11:33:21Z"
)

// versions is the document at the root.
func versions(r *rest.Request) any {
	return m{"versions": []any{
		m{
			"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": updatedV2,
			"links": rest.SelfLink(r.Link("/v2/")),
		},
		m{
			"id": "v2.1", "status": "CURRENT", "version": MaxVersion, "min_version": MinVersion, "updated": updated,
			"links": rest.SelfLink(r.Link("/v2.1/")),
		},
	}}
}

// versionV2 is the document of the API without microversions.
func (a *api) versionV2(r *rest.Request) (any, error) {
	return m{"version": m{
		"id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": updatedV2,
		"links": []any{
			m{"rel": "self", "href": r.Link("/v2/")},
			m{"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
		},
		"media-types": []any{m{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2"}},
	}}, nil
}

// V2 adds the API of before microversions: /v2 is /v2.1 at its first version,
// whatever version a client asks for.
func V2(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/v2/")
		if !ok || rest == "" {
			h.ServeHTTP(w, r)
			return
		}
		old := r.Clone(r.Context())
		old.URL.Path, old.URL.RawPath = "/v2.1/"+strings.TrimPrefix(r.URL.Path, "/v2/"), "/v2.1/"+rest
		old.Header.Del("OpenStack-API-Version")
		old.Header.Del("X-OpenStack-Nova-API-Version")
		h.ServeHTTP(w, old)
	})
}

func (a *api) version(r *rest.Request) (any, error) {
	return m{"version": m{
		"id": "v2.1", "status": "CURRENT", "version": MaxVersion, "min_version": MinVersion, "updated": updated,
		"links": []any{
			m{"rel": "self", "href": r.Link("/v2.1/")},
			m{"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
		},
		"media-types": []any{m{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}},
	}}, nil
}

// extensions are the parts of the API that were extensions once; only those
// that are served are named.
func extensions() []m {
	names := map[string]string{
		"flavors": "Flavors", "servers": "Servers", "os-keypairs": "Keypairs", "os-availability-zone": "AvailabilityZone", "os-aggregates": "Aggregates",
		"os-hypervisors": "Hypervisors", "os-hosts": "Hosts", "os-services": "Services", "os-quota-sets": "Quotas", "os-quota-class-sets": "QuotaClasses",
		"os-server-groups": "ServerGroups", "os-simple-tenant-usage": "SimpleTenantUsage", "os-instance-actions": "InstanceActions", "os-attach-interfaces": "AttachInterfaces",
		"os-console-output": "ConsoleOutput", "os-flavor-access": "FlavorAccess", "os-flavor-extra-specs": "FlavorExtraSpecs", "os-flavor-manage": "FlavorManage",
		"os-lock-server": "LockServer", "os-pause-server": "PauseServer", "os-suspend-server": "SuspendServer", "os-shelve": "Shelve", "os-create-backup": "CreateBackup", "os-rescue": "Rescue", "os-multinic": "Multinic", "os-evacuate": "Evacuate", "os-security-groups": "SecurityGroups",
		"os-server-external-events": "ServerExternalEvents", "os-extended-status": "ExtendedStatus", "os-extended-server-attributes": "ExtendedServerAttributes",
		"os-extended-availability-zone": "ExtendedAvailabilityZone", "os-config-drive": "ConfigDrive", "os-disk-config": "DiskConfig", "os-server-usage": "ServerUsage",
		"os-user-data": "UserData", "os-scheduler-hints": "SchedulerHints", "os-multiple-create": "MultipleCreate", "os-access-ips": "AccessIPs", "os-used-limits": "UsedLimits",
		"os-deferred-delete": "DeferredDelete", "os-networks": "Networks", "os-tenant-networks": "TenantNetworks", "os-floating-ips": "FloatingIps", "os-floating-ip-pools": "FloatingIpPools",
		"images": "Images", "image-metadata": "ImageMetadata", "image-size": "ImageSize", "os-instance-usage-audit-log": "OSInstanceUsageAuditLog", "os-server-diagnostics": "ServerDiagnostics", "os-migrations": "Migrations", "os-personality": "Personality",
		"os-server-password": "ServerPassword", "os-extended-volumes": "ExtendedVolumes", "os-admin-actions": "AdminActions", "os-admin-password": "AdminPassword",
		"limits": "Limits", "ips": "Ips", "extensions": "Extensions", "versions": "Versions", "server-metadata": "ServerMetadata",
	}
	var out []m
	for alias, name := range names {
		out = append(out, m{"alias": alias, "name": name, "description": "", "links": []any{}, "namespace": "http://docs.openstack.org/compute/ext/fake_xml", "updated": "2014-12-03T00:00:00Z"})
	}
	sort.Slice(out, func(i, j int) bool { return out[i]["alias"].(string) < out[j]["alias"].(string) })
	return out
}

func (a *api) listExtensions(*rest.Request) (any, error) {
	return m{"extensions": extensions()}, nil
}

func (a *api) showExtension(r *rest.Request) (any, error) {
	for _, e := range extensions() {
		if e["alias"] == r.Var("alias") {
			return m{"extension": e}, nil
		}
	}
	return nil, fault.New(fault.NotFound, "The extension %s could not be found.", r.Var("alias"))
}
