package sim

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tropocloud/tropo/rest"
)

const imageID = "33333333-3333-4333-8333-333333333333"

// images is the image service, which is pretended: what it has outlives all
// processes and is the same for all of them. It keeps no data.
type images struct {
	mu   sync.Mutex
	all  map[string]doc
	once map[string]doc // answers to Idempotency-Keys
}

func newImages() *images {
	return &images{once: map[string]doc{}, all: map[string]doc{imageID: {
		"id": imageID, "name": "cirros", "status": "active", "owner": project, "size": 1 << 20, "min_disk": 0, "min_ram": 0,
		"disk_format": "qcow2", "container_format": "bare", "visibility": "public",
	}}}
}

// ServeHTTP implements http.Handler for what compute asks.
func (s *images) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/image/v2/images"), "/")
	var in doc
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
	}
	_, _ = io.Copy(io.Discard, r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	id := ""
	if len(path) > 1 {
		id = path[1]
	}
	key := r.Header.Get(rest.IdempotencyKey)
	have := s.all[id]
	code, out := http.StatusOK, have
	switch {
	case r.Method == http.MethodPost && s.once[key] != nil:
		code, out = http.StatusCreated, s.once[key]
	case r.Method == http.MethodPost:
		if id, _ = in["id"].(string); s.all[id] != nil {
			code, out = http.StatusConflict, doc{}
			break
		}
		in["status"], in["size"] = "queued", nil
		s.all[id], code, out = in, http.StatusCreated, in
		if key != "" {
			s.once[key] = maps.Clone(in)
		}
	case have == nil:
		code, out = http.StatusNotFound, doc{}
	case r.Method == http.MethodPut: // the data
		have["status"], have["size"] = "active", 1<<20
		code, out = http.StatusNoContent, nil
	case r.Method == http.MethodDelete:
		delete(s.all, id)
		code, out = http.StatusNoContent, nil
	}
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(code)
	if out != nil {
		_ = json.NewEncoder(rw).Encode(out) // nobody may read
	}
}

// atRest are images that are left of something. One that nobody was told of is
// its project's to delete: it is made with the user's token, so before the work.
func (s *images) atRest(servers map[string]*serverRow, accepted []string) (f finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shelved := map[string]bool{}
	for _, r := range servers {
		if r.VM == "shelved_offloaded" || r.VM == "error" {
			shelved[r.Spec.V.ShelvedImage] = true
		}
	}
	for id, v := range s.all {
		name, _ := v["name"].(string)
		switch {
		case strings.HasSuffix(name, "-shelved") && !shelved[id]:
			f.add("image %s of a shelved server is left", id)
		case v["status"] != "active" && slices.Contains(accepted, id):
			f.add("image %s is %v", id, v["status"])
		}
	}
	return f
}
