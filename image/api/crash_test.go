package api_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tropocloud/tropo/db/dbtest"
	"github.com/tropocloud/tropo/image/driver/file"
	"github.com/tropocloud/tropo/task"
)

// TestCrashDuringImport ends the engine before and after every step of an
// import, good and bad; the next one finishes the work.
func TestCrashDuringImport(t *testing.T) {
	for _, good := range []bool{true, false} {
		for _, step := range []string{"announce", "data", "report"} {
			for _, when := range []task.When{task.Before, task.After} {
				if !good && (step == "report" || step == "data" && when == task.After) {
					continue // never reached
				}
				t.Run(fmt.Sprintf("good=%v/%s/%s", good, step, when), func(t *testing.T) { crashAt(t, step, when, good) })
			}
		}
	}
}

func crashAt(t *testing.T, step string, when task.When, good bool) {
	d := dbtest.New(t)
	data, err := file.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	config := newService(t, dbtest.New(t), nil).manager.Config()
	ctx, kill := context.WithCancel(t.Context())
	first := openWith(t, d, data, config, ctx, task.Options{Owner: "here", Hook: func(_, s string, _ bool, w task.When) {
		if s == step && w == when {
			kill()
		}
	}})
	path := first.make(object{"disk_format": "raw"})
	first.want(204, "alice", "PUT", path+"/stage", bytes.NewReader(random(5000)))
	if !good { // what was staged turns out to be something else
		key := keyOf(t, first, path)
		w, err := data.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(qcow2(true)); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	first.want(202, "alice", "POST", path+"/import", object{"method": object{"name": "glance-direct"}})
	<-ctx.Done()
	<-first.ended
	second := open(t, d, data, config)
	want, outcome := "active", "success"
	if !good {
		want, outcome = "queued", "failure"
	}
	second.await(path+"/tasks", func(o object) bool {
		tasks := o["tasks"].([]any)
		return len(tasks) == 1 && tasks[0].(object)["status"] == outcome
	})
	got := second.await(path, func(o object) bool { return o["os_glance_importing_to_stores"] == nil })
	if got["status"] != want {
		t.Errorf("status %v, want %s", got["status"], want)
	}
	second.clean()
}

// keyOf is the key of what was staged.
func keyOf(t *testing.T, s *service, path string) string {
	t.Helper()
	i, err := s.store.Image(t.Context(), strings.TrimPrefix(path, "/v2/images/"))
	if err != nil {
		t.Fatal(err)
	}
	return i.UploadKey
}
