package task_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tropocloud/tropo/db"
	"github.com/tropocloud/tropo/fault"
	"github.com/tropocloud/tropo/task"
)

// A saga of two steps, the second of which fails: what the first did is
// undone, and Failed tells the object.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	dir, _ := os.MkdirTemp("", "task")
	defer func() { _ = os.RemoveAll(dir) }()
	d, _ := db.Open(ctx, "sqlite:"+filepath.Join(dir, "x.db"))
	defer func() { _ = d.Close() }()
	e, _ := task.New(ctx, d, task.Options{Owner: "host1"})

	type state struct{ PortID string }
	task.Register(e, task.Saga[state]{
		Name: "boot",
		Steps: []task.Step[state]{
			{
				Name: "port",
				Do:   func(_ context.Context, s *state) error { fmt.Println("make", s.PortID); return nil },
				Undo: func(_ context.Context, s *state) error { fmt.Println("delete", s.PortID); return nil },
			},
			{Name: "guest", Do: func(context.Context, *state) error { return fault.Conflictf("no valid host") }},
		},
		Failed: func(_ context.Context, _ *state, cause error) error { fmt.Println("error:", cause); stop(); return nil },
	})
	time.AfterFunc(time.Minute, stop)
	// In a service: in the transaction that writes the server's row.
	_ = d.Tx(ctx, func(ctx context.Context) error {
		return task.Start(ctx, e, "boot", "server-1", state{PortID: "port-1"}) // the id is chosen first
	})
	_ = e.Run(ctx)
	// Output:
	// make port-1
	// delete port-1
	// error: no valid host
}
