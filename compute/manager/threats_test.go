package manager_test

import (
	"maps"
	"testing"

	"github.com/tropocloud/tropo/compute/computetest"
)

// TestThreat20RebuildKeepsTheTraits : a rebuild takes no image that its host
// must not run, and claims nothing twice (CVE-2017-16239, CVE-2017-17051).
func TestThreat20RebuildKeepsTheTraits(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	const lacking, forbidding, fine = "a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002", "a0000000-0000-4000-8000-000000000003"
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	var before map[string]map[string]int
	c.Peers.Do(func() {
		for image, trait := range map[string]m{lacking: {"trait:CUSTOM_LICENSED": "required"}, forbidding: {"trait:CUSTOM_SHARED": "forbidden"}, fine: {"trait:CUSTOM_SHARED": "required"}} {
			img := maps.Clone(c.Peers.Images[computetest.ImageID])
			maps.Copy(img, trait)
			img["id"] = image
			c.Peers.Images[image] = img
			c.Peers.Data[image] = c.Peers.Data[computetest.ImageID]
		}
		for _, p := range c.Peers.Providers {
			p.Traits = append(p.Traits, "CUSTOM_SHARED")
		}
		before = c.Peers.Allocations[id].By
	})
	for _, image := range []string{lacking, forbidding} {
		c.Must(400, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rebuild": m{"imageRef": image}})
	}
	if s := c.Status(id, "ACTIVE"); s.Get("server", "image", "id") != computetest.ImageID {
		t.Errorf("the server is rebuilt: %s", s.Text)
	}
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rebuild": m{"imageRef": fine}})
	if s := c.Status(id, "ACTIVE"); s.Get("server", "image", "id") != fine {
		t.Errorf("the server is not rebuilt: %s", s.Text)
	}
	c.Peers.Do(func() {
		after := c.Peers.Allocations[id].By
		if len(after) != 1 || !maps.EqualFunc(before, after, maps.Equal[map[string]int, map[string]int]) {
			t.Errorf("claimed %v, before %v", after, before)
		}
	})
}

// TestNobodyBootsAnothersImageAsKernel: the host reads all images, so an image
// must not name one as its kernel or ramdisk that its user may not see.
func TestNobodyBootsAnothersImageAsKernel(t *testing.T) {
	c := cloud(t, computetest.Options{})
	c.Flavor()
	const hidden, mine = "a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002"
	id := c.Boot("one", nil)
	c.Status(id, "ACTIVE")
	for _, part := range []string{"kernel_id", "ramdisk_id"} {
		c.Peers.Do(func() {
			img := maps.Clone(c.Peers.Images[computetest.ImageID])
			img["id"], img[part] = mine, hidden
			c.Peers.Images[mine] = img
		})
		c.Must(400, computetest.Member, "", "POST", "/v2.1/servers", m{"server": m{"name": "two", "imageRef": mine, "flavorRef": "1", "networks": []m{{"uuid": computetest.NetworkID}}}})
		c.Must(400, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rebuild": m{"imageRef": mine}})
		c.Must(400, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rescue": m{"rescue_image_ref": mine}})
	}
	c.Peers.Do(func() {
		img := maps.Clone(c.Peers.Images[computetest.ImageID])
		img["id"] = hidden
		c.Peers.Images[hidden] = img // seen from now on
	})
	c.Must(202, computetest.Member, "", "POST", "/v2.1/servers/"+id+"/action", m{"rebuild": m{"imageRef": mine}})
}
