package api_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/image"
	"github.com/tropocloud/tropo/image/driver/file"
	"github.com/tropocloud/tropo/image/manager"
)

// qcow2 is a minimal qcow2 of 1 MiB; backing names a file at offset 1024.
func qcow2(backing bool) []byte {
	b := make([]byte, 4<<16)
	copy(b, "QFI\xfb\x00\x00\x00\x03")
	b[23], b[29], b[39], b[45], b[53], b[59], b[99], b[103] = 16, 16, 1, 3, 1, 1, 4, 104
	b[65541] = 2
	if backing {
		b[14], b[19] = 4, 11
		copy(b[1024:], "/etc/passwd")
	}
	return b
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func TestUploadAndDownload(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newService(t, d, nil)
		data := random(3 << 20)
		path := s.make(object{"disk_format": "raw"})
		s.want(204, "alice", "GET", path+"/file", nil)
		s.want(415, "alice", "PUT", path+"/file", "{}")
		s.want(204, "alice", "PUT", path+"/file", bytes.NewReader(data))
		got := s.want(200, "alice", "GET", path, nil)
		m, h := md5.Sum(data), sha512.Sum512(data)
		for k, v := range (object{
			"status": "active", "size": float64(len(data)), "virtual_size": float64(len(data)), "checksum": hex.EncodeToString(m[:]),
			"os_hash_algo": "sha512", "os_hash_value": hex.EncodeToString(h[:]), "stores": "file",
		}) {
			if got[k] != v {
				t.Errorf("%s = %v, want %v", k, got[k], v)
			}
		}
		res := s.do("alice", "GET", path+"/file", nil)
		b, err := io.ReadAll(res.Body)
		if err != nil || !bytes.Equal(b, data) || res.Header.Get("Content-Length") != fmt.Sprint(len(data)) || res.Header.Get("Content-MD5") != got["checksum"] {
			t.Errorf("download: %d bytes, %v, %v", len(b), err, res.Header)
		}
		for spec, want := range map[string][]byte{"bytes=0-9": data[:10], "bytes=100-": data[100:], "bytes=-5": data[len(data)-5:], "bytes=10-99999999": data[10:]} {
			res := s.do("alice", "GET", path+"/file", nil, "Range", spec)
			b, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusPartialContent || !bytes.Equal(b, want) {
				t.Errorf("%s: %d, %d bytes, %v", spec, res.StatusCode, len(b), err)
			}
		}
		for _, spec := range []string{"bytes=99999999-", "bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6"} {
			s.want(416, "alice", "GET", path+"/file", nil, "Range", spec)
		}
		s.want(409, "alice", "PUT", path+"/file", strings.NewReader("again"))
		s.want(404, "bob", "GET", path+"/file", nil)
		s.want(204, "alice", "DELETE", path, nil)
		s.want(404, "alice", "GET", path+"/file", nil)
		s.clean()
	})
}

func TestRefusedUploadsLeaveNothing(t *testing.T) {
	s := newService(t, dbtest.New(t), func(c *image.Config) { c.SizeCap = 1 << 20 })
	good := random(1000)
	m := md5.Sum(good)
	for name, x := range map[string]struct {
		format string
		body   io.Reader
		status int
		words  string
		header []string
	}{
		"empty":                        {"raw", strings.NewReader(""), 400, "empty", nil},
		"qcow2 with a backing file":    {"qcow2", bytes.NewReader(qcow2(true)), 400, "backing file", nil},
		"qcow2 labelled raw":           {"raw", bytes.NewReader(qcow2(false)), 400, "declared as raw", nil},
		"qcow2 cut short":              {"qcow2", bytes.NewReader(qcow2(false)[:100_000]), 400, "truncated", nil},
		"noise labelled qcow2":         {"qcow2", bytes.NewReader(good), 400, "declared as qcow2", nil},
		"vmdk that names a host file":  {"vmdk", strings.NewReader("# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n"), 400, "other files", nil},
		"vmdk descriptor behind noise": {"vmdk", strings.NewReader("xxxx\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/passwd\" 0\n"), 400, "declared as vmdk", nil},
		"too large":                    {"raw", bytes.NewReader(random(2 << 20)), 413, "", nil},
		"too large, not announced":     {"raw", io.MultiReader(bytes.NewReader(random(2 << 20))), 413, "", nil},
		"broken connection":            {"raw", io.MultiReader(bytes.NewReader(good), failing{}), 400, "ended early", nil},
		"wrong digest":                 {"raw", bytes.NewReader(good), 400, "Content-MD5", []string{"Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA=="}},
	} {
		t.Run(name, func(t *testing.T) {
			path := s.make(object{"disk_format": x.format})
			got := s.want(x.status, "alice", "PUT", path+"/file", x.body, x.header...)
			if !strings.Contains(fmt.Sprint(got["text"]), x.words) {
				t.Errorf("the answer does not say %q: %v", x.words, got["text"])
			}
			now := s.want(200, "alice", "GET", path, nil)
			if now["status"] != "queued" || now["size"] != nil || now["checksum"] != nil {
				t.Errorf("left %v", now)
			}
			s.clean()
			s.want(204, "alice", "PUT", s.make(nil)+"/file", bytes.NewReader(good), "Content-MD5", base64.StdEncoding.EncodeToString(m[:]))
		})
	}
	path := fmt.Sprint(s.want(201, "alice", "POST", "/v2/images", object{"name": "no formats"})["self"])
	s.want(400, "alice", "PUT", path+"/file", bytes.NewReader(good))
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// Content that is no known format may have any label whose readers refuse it.
func TestHarmlessLabels(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	for _, f := range []string{"ami", "ari", "aki", "vhd", "vmdk", "raw"} {
		path := s.make(object{"disk_format": f, "container_format": "ami"})
		s.want(204, "alice", "PUT", path+"/file", bytes.NewReader(random(2000)))
	}
	strict := newService(t, dbtest.New(t), func(c *image.Config) { c.FormatMatch = true })
	strict.want(400, "alice", "PUT", strict.make(object{"disk_format": "vhd"})+"/file", bytes.NewReader(random(2000)))
}

func TestQCOW2KnowsItsVirtualSize(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	path := s.make(object{"disk_format": "qcow2"})
	s.want(204, "alice", "PUT", path+"/file", bytes.NewReader(qcow2(false)))
	if got := s.want(200, "alice", "GET", path, nil); got["virtual_size"] != float64(1<<20) {
		t.Errorf("virtual_size %v", got["virtual_size"])
	}
}

// A process that dies in the middle of an upload leaves the image queued and no
// data once its successor has started.
func TestCrashDuringUpload(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		dir := t.TempDir()
		data, err := file.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		first := open(t, d, data, newService(t, d, nil).manager.Config())
		path := first.make(nil)
		id := strings.TrimPrefix(path, "/v2/images/")
		key := uuid.NewString()
		// What the first process had done when it was killed.
		ok, err := first.store.Swap(t.Context(), id, "", []image.Status{image.StatusQueued},
			db.Set{"status": image.StatusSaving, "upload_key": key, "upload_owner": "here/dead", "upload_beat": db.Now()})
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		if err := first.store.AddGarbage(t.Context(), "file", key); err != nil {
			t.Fatal(err)
		}
		for _, complete := range []bool{false, true} {
			w, err := data.Create(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(random(1000)); err != nil {
				t.Fatal(err)
			}
			if complete {
				if err := w.Commit(); err != nil {
					t.Fatal(err)
				}
			}
		}
		second := open(t, d, data, first.manager.Config())
		if got := second.want(200, "alice", "GET", path, nil); got["status"] != "queued" {
			t.Errorf("left %v", got["status"])
		}
		second.clean()
		second.want(204, "alice", "PUT", path+"/file", bytes.NewReader(random(1000)))
		second.clean()
	})
}

// Threats 14 and 15: what only the service sets cannot be set, and an image
// deleted under an upload keeps no data.
func TestThreat15DeleteDuringUpload(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	path := s.make(nil)
	r, w := io.Pipe()
	done := make(chan int, 1)
	go func() { done <- s.do("alice", "PUT", path+"/file", r).StatusCode }()
	if _, err := w.Write(random(100_000)); err != nil {
		t.Fatal(err)
	}
	if got := s.want(200, "alice", "GET", path, nil); got["status"] != "saving" {
		t.Errorf("status %v", got["status"])
	}
	s.want(204, "alice", "DELETE", path, nil)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != http.StatusGone {
		t.Errorf("the upload of a deleted image ended with %d", code)
	}
	s.clean()
}

func TestThreat14OnlyTheServiceSetsStatus(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	path := s.make(nil)
	for _, name := range []string{"status", "checksum", "size", "locations", "location", "id", "os_hash_value", "os_glance_import_task", "deleted", "created_at"} {
		for _, op := range []string{"add", "replace", "remove"} {
			s.want(403, "alice", "PATCH", path, []object{{"op": op, "path": "/" + name, "value": "x"}}, "Content-Type", "application/openstack-images-v2.1-json-patch")
		}
		if name != "id" { // which may be chosen at creation
			s.want(403, "alice", "POST", "/v2/images", object{name: "x"})
		}
	}
	s.want(403, "alice", "PATCH", path, []object{{"add": "/locations/-", "value": object{"url": "file:///etc/passwd"}}}, "Content-Type", "application/openstack-images-v2.0-json-patch")
}

// Threat 3 once more: the label may not change between the inspection of the
// content and its activation.
func TestThreat3RelabelledDuringUpload(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	path := s.make(object{"disk_format": "qcow2"})
	old, err := s.store.Image(t.Context(), strings.TrimPrefix(path, "/v2/images/"))
	if err != nil {
		t.Fatal(err)
	}
	relabel := `[{"op":"replace","path":"/disk_format","value":"raw"}]`
	v21 := []string{"Content-Type", "application/openstack-images-v2.1-json-patch"}
	s.want(200, "alice", "PATCH", path, relabel, v21...)
	if err := s.manager.UploadImage(t.Context(), old, manager.Upload{Body: bytes.NewReader(qcow2(false)), Size: -1}); err == nil {
		t.Error("a qcow2 became active under the label raw")
	}
	if got := s.want(200, "alice", "GET", path, nil); got["status"] != "queued" {
		t.Errorf("left %v", got["status"])
	}
	s.clean()
	s.want(204, "alice", "PUT", path+"/stage", bytes.NewReader(random(100)))
	s.want(403, "alice", "PATCH", path, relabel, v21...)
}

func TestStorageQuota(t *testing.T) {
	s := newService(t, dbtest.New(t), func(c *image.Config) { c.StorageQuota = 10_000 })
	first := s.make(nil)
	s.want(204, "alice", "PUT", first+"/file", bytes.NewReader(random(6000)))
	second := s.make(nil)
	s.want(413, "alice", "PUT", second+"/file", bytes.NewReader(random(6000)))
	s.want(204, "alice", "DELETE", first, nil)
	s.want(204, "alice", "PUT", second+"/file", bytes.NewReader(random(6000)))
	// Side by side: both fit when they begin, one when they end.
	s.want(204, "alice", "DELETE", second, nil)
	codes := make(chan int, 2)
	var writers []*io.PipeWriter
	for range 2 {
		path := s.make(nil)
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() { codes <- s.do("alice", "PUT", path+"/file", r).StatusCode }()
	}
	for _, w := range writers {
		if _, err := w.Write(random(6000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range writers {
		_ = w.Close()
	}
	got := []int{<-codes, <-codes}
	slices.Sort(got)
	if got[0] != 204 || got[1] != 413 {
		t.Errorf("two uploads that fit alone: %v", got)
	}
	s.clean()
}

func TestPatch(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	path := s.make(object{"os_distro": "debian"})
	v21 := []string{"Content-Type", "application/openstack-images-v2.1-json-patch"}
	v20 := []string{"Content-Type", "application/openstack-images-v2.0-json-patch"}
	got := s.want(200, "alice", "PATCH", path, []object{
		{"op": "replace", "path": "/name", "value": "new"},
		{"op": "add", "path": "/a~1b~0c", "value": "v"},
		{"op": "add", "path": "/os_distro", "value": "arch"},
		{"op": "replace", "path": "/tags", "value": []string{"y", "x", "y"}},
		{"op": "replace", "path": "/min_disk", "value": 3},
	}, v21...)
	if got["name"] != "new" || got["a/b~c"] != "v" || got["os_distro"] != "arch" || fmt.Sprint(got["tags"]) != "[x y]" || got["min_disk"] != 3.0 {
		t.Errorf("patched to %v", got)
	}
	got = s.want(200, "alice", "PATCH", path, []object{{"replace": "/name", "value": nil}, {"remove": "/os_distro"}}, v20...)
	if got["name"] != nil || got["os_distro"] != nil {
		t.Errorf("patched to %v", got)
	}
	for status, ops := range map[int][]string{
		409: {`[{"op":"replace","path":"/nope","value":"x"}]`, `[{"op":"remove","path":"/nope"}]`},
		400: {
			`[{"op":"add","path":"/x"}]`, `[{"op":"move","path":"/x","from":"/y"}]`, `[{"op":"add","path":"x","value":"y"}]`, `[{"op":"add","path":"/a/b","value":"y"}]`,
			`[{"op":"add","path":"/x","value":3}]`, `[{"op":"replace","path":"/min_ram","value":-1}]`, `[{"op":"replace","path":"/visibility","value":"x"}]`,
			`[{"op":"add","path":"/x~2","value":"y"}]`, `{}`, `[3]`, `[{"op":"replace","path":"/disk_format","value":"wrong"}]`,
		},
		403: {`[{"op":"remove","path":"/name"}]`, `[{"op":"replace","path":"/visibility","value":"public"}]`, `[{"op":"replace","path":"/owner","value":"x"}]`},
	} {
		for _, op := range ops {
			s.want(status, "alice", "PATCH", path, op, v21...)
		}
	}
	if got := s.want(200, "alice", "GET", path, nil); got["a/b~c"] != "v" || got["visibility"] != "shared" {
		t.Errorf("a refused patch changed %v", got)
	}
	s.want(200, "admin", "PATCH", path, `[{"op":"replace","path":"/visibility","value":"public"},{"op":"replace","path":"/owner","value":"`+projectB+`"}]`, v21...)
	if got := s.want(200, "bob", "GET", path, nil); got["owner"] != projectB {
		t.Errorf("owner %v", got["owner"])
	}
	s.want(403, "alice", "DELETE", path, nil)
	// The formats are fixed once there is data.
	s.want(204, "bob", "PUT", path+"/file", bytes.NewReader(random(100)))
	s.want(403, "bob", "PATCH", path, `[{"op":"replace","path":"/disk_format","value":"qcow2"}]`, v21...)
	s.want(200, "bob", "PATCH", path, `[{"op":"replace","path":"/protected","value":true}]`, v21...)
	s.want(403, "bob", "DELETE", path, nil)
}

func TestListFilters(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newService(t, d, nil)
		for i, name := range []string{"a", "b", "c,d", "e"} {
			path := s.make(object{"name": name, "tags": []string{"all", "t" + name}, "number": fmt.Sprint(i % 2), "min_ram": i, "os_hidden": name == "e"})
			if i < 2 {
				s.want(204, "alice", "PUT", path+"/file", bytes.NewReader(random(100*(i+1))))
			}
		}
		for query, want := range map[string]string{
			"sort=name:asc": "a b c,d", "name=a": "a", "name=in:a,b&sort=name:asc": "a b", `name=in:a,%22c,d%22&sort=name:asc`: "a c,d", "name=neq:a&sort=name:asc": "b c,d",
			"status=active&sort=name:asc": "a b", "status=queued": "c,d", "tag=all&tag=tb": "b", "tag=all&tag=nope": "",
			"size_min=150": "b", "size_max=150": "a", "size=100": "a", "number=1": "b", "number=0&sort=name:asc": "a c,d", "number=7": "",
			"os_hidden=true": "e", "protected=true": "", "protected=false&sort=name:desc": "c,d b a", "min_ram=1": "b", "disk_format=raw&sort=name:asc": "a b c,d",
			"container_format=in:bare,ovf&sort=name:asc": "a b c,d", "owner=" + projectA + "&sort=name:asc": "a b c,d", "owner=x": "", "visibility=shared&sort=name:asc": "a b c,d",
			"visibility=private": "", "created_at=gt:2020-01-01T00:00:00Z&sort=name:asc": "a b c,d", "created_at=lt:2020-01-01T00:00:00Z": "",
			"sort_key=status&sort_dir=asc&sort_key=name&sort_dir=desc": "b a c,d", "sort_key=name": "c,d b a", "sort=size:desc,name:asc&status=active": "b a", "limit=0": "",
			"limit=2&sort=name:asc": "a b",
		} {
			if got := s.names("alice", "/v2/images?"+query); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
		for _, query := range []string{
			"limit=x", "limit=-1", "marker=" + uuid.NewString(), "sort=nope", "sort_key=nope", "sort=name:up", "sort=name&sort_key=name", "visibility=x",
			"member_status=x", "size_min=x", "size_max=-1", "os_hidden=x", "protected=x", "created_at=gt:yesterday", `name=in:%22a`,
		} {
			s.want(400, "alice", "GET", "/v2/images?"+query, nil)
		}
		if got := s.names("bob", "/v2/images"); got != "" {
			t.Errorf("bob sees %q", got)
		}
		// Page by page, by the links.
		var all []string
		for path := "/v2/images?limit=1&sort=name:asc"; path != ""; {
			got := s.want(200, "alice", "GET", path, nil)
			for _, i := range got["images"].([]any) {
				all = append(all, fmt.Sprint(i.(object)["name"]))
			}
			next, ok := got["next"].(string)
			if path = next; !ok {
				path = ""
			}
		}
		if strings.Join(all, " ") != "a b c,d" {
			t.Errorf("pages: %q", all)
		}
	})
}

func (s *service) names(token, path string) string {
	s.t.Helper()
	var names []string
	for _, i := range s.want(200, token, "GET", path, nil)["images"].([]any) {
		names = append(names, fmt.Sprint(i.(object)["name"]))
	}
	return strings.Join(names, " ")
}

func TestVisibility(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	for _, v := range []string{"private", "shared", "community", "public"} {
		token := "alice"
		if v == "public" {
			token = "admin"
		}
		s.want(201, token, "POST", "/v2/images", object{"name": v, "visibility": v})
	}
	for caller, lists := range map[string]map[string]string{
		"alice": {"": "community private public shared", "visibility=community": "community", "visibility=all": "community private public shared", "visibility=private": "private"},
		"bob":   {"": "public", "visibility=community": "community", "visibility=all": "community public", "visibility=private": "", "visibility=shared": ""},
		"admin": {"": "community private public shared", "visibility=private": "private"},
		"rita":  {"": "community private public shared"},
	} {
		for query, want := range lists {
			if got := s.names(caller, "/v2/images?sort=name:asc&"+query); got != want {
				t.Errorf("%s %s: %q, want %q", caller, query, got, want)
			}
		}
	}
	// A reader reads.
	s.want(403, "rita", "POST", "/v2/images", object{"name": "x"})
	s.want(403, "alice", "POST", "/v2/images", object{"name": "x", "owner": projectB})
	if got := s.want(201, "admin", "POST", "/v2/images", object{"name": "x", "owner": projectB}); got["owner"] != projectB {
		t.Errorf("owner %v", got["owner"])
	}
}

func TestQuotasOfDetails(t *testing.T) {
	s := newService(t, dbtest.New(t), func(c *image.Config) { c.TagQuota, c.PropertyQuota, c.MemberQuota = 2, 2, 1 })
	path := s.make(object{"tags": []string{"a", "b"}, "p": "1", "q": "2"})
	s.want(413, "alice", "PUT", path+"/tags/c", nil)
	s.want(204, "alice", "PUT", path+"/tags/a", nil)
	s.want(400, "alice", "PUT", path+"/tags/"+strings.Repeat("x", 256), nil)
	s.want(413, "alice", "POST", "/v2/images", object{"a": "1", "b": "2", "c": "3"})
	s.want(200, "alice", "POST", path+"/members", object{"member": projectB})
	s.want(413, "alice", "POST", path+"/members", object{"member": "other"})
}

func TestImportOfStagedData(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newService(t, d, nil)
		path := s.make(nil)
		data := random(5000)
		s.want(204, "alice", "PUT", path+"/stage", bytes.NewReader(data))
		if got := s.want(200, "alice", "GET", path, nil); got["status"] != "uploading" {
			t.Errorf("staged: %v", got["status"])
		}
		s.want(204, "alice", "GET", path+"/file", nil)
		s.want(409, "alice", "PUT", path+"/file", bytes.NewReader(data))
		s.want(202, "alice", "POST", path+"/import", object{"method": object{"name": "glance-direct"}, "all_stores": true})
		got := s.await(path, func(o object) bool { return o["status"] == "active" && o["os_glance_importing_to_stores"] == nil })
		sum := md5.Sum(data)
		if got["checksum"] != hex.EncodeToString(sum[:]) || got["size"] != 5000.0 {
			t.Errorf("imported %v", got)
		}
		tasks := s.want(200, "alice", "GET", path+"/tasks", nil)["tasks"].([]any)
		if len(tasks) != 1 || tasks[0].(object)["status"] != "success" {
			t.Errorf("tasks %v", tasks)
		}
		id := fmt.Sprint(tasks[0].(object)["id"])
		s.want(200, "admin", "GET", "/v2/tasks/"+id, nil)
		s.want(403, "alice", "GET", "/v2/tasks/"+id, nil)
		res := s.do("alice", "GET", path+"/file", nil)
		if b, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(b, data) {
			t.Errorf("download: %d bytes, %v", len(b), err)
		}
		s.clean()
	})
}

// Threat 6: CVE-2015-5163, the same attacks through import.
func TestThreat6ImportIsInspected(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	path := s.make(object{"disk_format": "qcow2"})
	s.want(400, "alice", "PUT", path+"/stage", bytes.NewReader(qcow2(true)))
	if got := s.want(200, "alice", "GET", path, nil); got["status"] != "queued" {
		t.Errorf("left %v", got["status"])
	}
	s.clean()
}

func TestWebDownload(t *testing.T) {
	body := qcow2(true)
	web := startWeb(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			_, _ = w.Write(body)
		case "/raw":
			_, _ = w.Write(random(4000))
		default:
			http.NotFound(w, r)
		}
	})
	port := web[strings.LastIndex(web, ":")+1:]
	s := newService(t, dbtest.New(t), func(c *image.Config) {
		c.Import.AllowedPorts, c.Import.AllowedNets = []string{port}, []string{"127.0.0.0/8"}
	})
	ask := func(format, uri string) string {
		path := s.make(object{"disk_format": format})
		s.want(202, "alice", "POST", path+"/import", object{"method": object{"name": "web-download", "uri": uri}})
		return path
	}
	got := s.await(ask("raw", web+"/raw"), func(o object) bool { return o["status"] == "active" })
	if got["size"] != 4000.0 {
		t.Errorf("downloaded %v", got)
	}
	for _, x := range []struct{ format, path, words string }{{"qcow2", "/bad", "backing file"}, {"raw", "/nothing", "could not be downloaded"}} {
		path := ask(x.format, web+x.path)
		got := s.await(path, func(o object) bool { return o["os_glance_failed_import"] != nil })
		if got["status"] != "queued" || got["os_glance_failed_import"] != "file" {
			t.Errorf("%s left %v", x.path, got)
		}
		tasks := s.want(200, "alice", "GET", path+"/tasks", nil)["tasks"].([]any)
		if task := tasks[0].(object); task["status"] != "failure" || !strings.Contains(fmt.Sprint(task["message"]), x.words) {
			t.Errorf("task %v, want %q", task, x.words)
		}
	}
	s.clean()
}

// Threat 10: CVE-2026-34881, web-download led to an internal address.
func TestThreat10WebDownloadStaysOutside(t *testing.T) {
	asked := make(chan struct{}, 10)
	web := startWeb(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	port := web[strings.LastIndex(web, ":")+1:]
	s := newService(t, dbtest.New(t), func(c *image.Config) { c.Import.AllowedPorts = []string{port} })
	path := s.make(nil)
	for _, uri := range []string{"", "file:///etc/passwd", "ftp://x.example/", "http://x.example:22/", "http://user:pw@x.example:" + port + "/", "nonsense"} {
		s.want(400, "alice", "POST", path+"/import", object{"method": object{"name": "web-download", "uri": uri}})
	}
	s.want(202, "alice", "POST", path+"/import", object{"method": object{"name": "web-download", "uri": web}})
	got := s.await(path, func(o object) bool { return o["os_glance_failed_import"] != nil })
	if got["status"] != "queued" {
		t.Errorf("left %v", got["status"])
	}
	tasks := s.want(200, "alice", "GET", path+"/tasks", nil)["tasks"].([]any)
	if m := fmt.Sprint(tasks[0].(object)["message"]); strings.Contains(m, "127.0.0.1") {
		t.Errorf("the message tells of the inside: %s", m)
	}
	select {
	case <-asked:
		t.Error("the internal server was asked")
	default:
	}
	s.clean()
}

func TestTimesAreUTC(t *testing.T) {
	s := newService(t, dbtest.New(t), nil)
	got := s.want(200, "alice", "GET", s.make(nil), nil)
	at, err := time.Parse("2006-01-02T15:04:05Z", fmt.Sprint(got["created_at"]))
	if err != nil || time.Since(at) > time.Minute || time.Until(at) > time.Minute {
		t.Errorf("created_at %v, %v", got["created_at"], err)
	}
}

// startWeb serves HTTP on the loopback interface and returns its URL.
func startWeb(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}
