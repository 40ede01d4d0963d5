package api_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/doctor"
	"github.com/tropocloud/tropo/image/driver/file"
	"github.com/tropocloud/tropo/task"
)

// TestDoctor breaks one thing after the other and sees it found and, where
// that is safe, healed.
func TestDoctor(t *testing.T) {
	for name, x := range map[string]struct {
		check string
		heals bool
		hurt  func(t *testing.T, s *service, d *db.DB, dir, key string)
	}{
		"data of no image": {"image-data-orphan", true, func(t *testing.T, _ *service, _ *db.DB, dir, _ string) {
			if err := os.WriteFile(filepath.Join(dir, uuid.NewString()), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"image without data": {"image-data-missing", false, func(t *testing.T, _ *service, _ *db.DB, dir, key string) {
			if err := os.Remove(filepath.Join(dir, key)); err != nil {
				t.Fatal(err)
			}
		}},
		"image with half its data": {"image-data-missing", false, func(t *testing.T, _ *service, _ *db.DB, dir, key string) {
			if err := os.Truncate(filepath.Join(dir, key), 17); err != nil {
				t.Fatal(err)
			}
		}},
		"import without a saga": {"image-stuck", true, func(t *testing.T, _ *service, d *db.DB, _, _ string) {
			if _, err := db.Exec(t.Context(), d, "UPDATE images SET status = 'importing', upload_key = data_key, data_key = '', updated_at = ?", db.Now().Add(-time.Minute)); err != nil {
				t.Fatal(err)
			}
		}},
		"saga without an image": {"image-saga-orphan", true, func(t *testing.T, s *service, d *db.DB, _, _ string) {
			s.t.Helper()
			old := db.Now().Add(-time.Hour)
			if _, err := db.Exec(t.Context(), d, "INSERT INTO sagas (id, seq_at, name, object_id, state, step, undoing, cancelled, cause_kind, cause, tries, run_at, owner, trace) VALUES ('1', ?, 'newer', 'gone', '{}', 0, ?, ?, '', '', 0, ?, '', '{}')", old, false, false, old); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d, dir := dbtest.New(t), t.TempDir()
			data, err := file.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			s := openWith(t, d, data, newService(t, dbtest.New(t), nil).manager.Config(), t.Context(), task.Options{Owner: "here"})
			path := s.make(object{"disk_format": "raw"})
			s.want(204, "alice", "PUT", path+"/file", bytes.NewReader(random(5000)))
			e := doctor.New(doctor.Options{Pause: 10 * time.Millisecond, Settle: 30 * time.Second})
			e.Add(s.manager.Checks()...)
			run := func(heal bool) *doctor.Report {
				r, err := e.Run(t.Context(), heal)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			if r := run(true); r.Code() != doctor.Clean || len(r.Healed) > 0 {
				t.Fatalf("before: %+v", r)
			}
			i, err := s.store.Image(t.Context(), strings.TrimPrefix(path, "/v2/images/"))
			if err != nil {
				t.Fatal(err)
			}
			x.hurt(t, s, d, dir, i.DataKey)
			r := run(false)
			if !slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
				return f.Check == x.check && (f.Fix != "") == x.heals && (f.Command == "") == x.heals
			}) {
				t.Fatalf("%+v", r)
			}
			if r = run(true); (r.Code() == doctor.Clean) != x.heals {
				t.Fatalf("healed: %+v", r)
			}
			if r = run(false); (r.Code() == doctor.Clean) != x.heals {
				t.Fatalf("after: %+v", r)
			}
			if strings.Contains(name, "image with") && len(s.want(200, "alice", "GET", path, nil)) == 0 {
				t.Error("the image is gone")
			}
		})
	}
}
