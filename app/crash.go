package app

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tropocloud/tropo/task"
)

// crashHook ends the process like kill -9 at a place "saga/step/before" (or
// after, or saga/step/undo-before …), for crash tests.
//
// "file:PATH" makes the file say what happens, as of each step: "kill PLACE"
// ends the process there, "kill PLACE PID" another one; the file is removed
// before, so that the next process gets past the place. "hold PLACE" keeps the
// step waiting there until the file says something else, and names the place in
// PATH.held.
func crashHook(at string) func(saga, step string, undo bool, w task.When) {
	if at == "" {
		return nil
	}
	path, byFile := strings.CutPrefix(at, "file:")
	return func(saga, step string, undo bool, w task.When) {
		here := saga + "/" + step + "/" + string(w)
		if undo {
			here = saga + "/" + step + "/undo-" + string(w)
		}
		switch {
		case byFile:
			crashBy(path, here)
		case here == at:
			die()
		}
	}
}

// crashBy does what the file says for this place.
func crashBy(path, here string) {
	for {
		b, err := os.ReadFile(path)
		words := strings.Fields(string(b))
		if err != nil || len(words) < 2 || words[1] != here {
			return
		}
		switch words[0] {
		case "kill":
			if os.Remove(path) != nil {
				return // another saga was faster
			}
			if len(words) == 2 {
				die()
			}
			if pid, err := strconv.Atoi(words[2]); err == nil {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			return
		case "hold":
			_ = os.WriteFile(path+".held", []byte(here), 0o600) // who does not see it waits in vain
			time.Sleep(20 * time.Millisecond)                   // until the file says something else
		default:
			return
		}
	}
}

func die() {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {}
}
