package file

import (
	"context"
	"os"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
)

// roomMin is how much a disk should have free, at least.
const roomMin = 1 << 30

// examine implements sink.Kind's Examine: it looks at the folder, and makes no
// file.
func examine(_ context.Context, config any, env sink.Env) []checkup.Result {
	t := &target{cfg: *config.(*Config), env: env, disk: osDisk{}}
	failed := func(err error) []checkup.Result {
		f := fault.Of(t.explain(err))
		return []checkup.Result{{Check: "file", Level: checkup.Failed, Found: f.Error(), Why: "nothing can be delivered", Fix: []string{f.Hint}}}
	}
	info, err := os.Stat(t.dir())
	if err == nil && info.IsDir() {
		err = writable(t.dir())
	}
	if err != nil {
		return failed(err)
	}
	closed, err := t.closedFiles()
	if err != nil {
		return failed(err)
	}
	results := []checkup.Result{checkup.Ok("file", "%s can be written; there are %d closed files beside it", t.cfg.Path, len(closed))}
	if free, err := room(t.dir()); err == nil && free < roomMin {
		results = append(results, checkup.Result{Check: "file_room", Level: checkup.Warning, Found: t.dir() + " has little room left",
			Why: "a full disk stops the pipeline until there is room", Fix: []string{"make room, or set keep: {bytes: …} with rotate"}})
	}
	return results
}
