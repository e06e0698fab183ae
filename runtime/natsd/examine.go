package natsd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cdcd-io/cdcd/internal/checkup"
	"github.com/cdcd-io/cdcd/internal/fault"
)

// diskFreeMin is how much room a disk should have for the streams of the
// embedded server: less is full before somebody has looked.
const diskFreeMin = 1 << 30

// Examine looks at what Start would need, and starts nothing.
func Examine(ctx context.Context, cfg Config) []checkup.Result {
	if cfg.URL != "" {
		return examineExternal(ctx, cfg)
	}
	results := []checkup.Result{examineDir(cfg.Dir)}
	if err := probe(cfg.Listen); err != nil && !cfg.ListenElse {
		results = append(results, checkup.Result{Check: "nats_listen", Level: checkup.Warning, Found: err.Error(),
			Why: "it is cdcd at work, or another program: then the embedded server can't start",
			Fix: []string{"if cdcd does not run: write another nats.embedded.listen"}})
	} else {
		results = append(results, checkup.Ok("nats_listen", "embedded, listening on %s", orNothing(cfg.Listen)))
	}
	return results
}

func orNothing(listen string) string {
	if listen == "" {
		return "no address: in-process only"
	}
	return listen
}

// examineDir checks that the streams' files can be written, and have room.
func examineDir(dir string) checkup.Result {
	r := checkup.Result{Check: "state_dir", Level: checkup.Failed, Why: "checkpoints and streams can't be kept",
		Fix: []string{"give the user that runs cdcd a directory that it may write to, and name it in state.dir"}}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		probe := filepath.Join(dir, ".doctor")
		if err = os.WriteFile(probe, nil, 0o600); err == nil {
			err = os.Remove(probe)
		}
	}
	var free int64
	if err == nil {
		free, err = diskFree(dir)
	}
	if err != nil {
		r.Found = err.Error()
		return r
	}
	found := fmt.Sprintf("%s can be written, %.1f GiB are free", dir, float64(free)/(1<<30))
	if free >= diskFreeMin {
		return checkup.Ok("state_dir", "%s", found)
	}
	return checkup.Result{Check: "state_dir", Level: checkup.Warning, Found: found, Why: "a full disk stops all pipelines",
		Fix: []string{"make room, or name a directory of another disk in state.dir"}}
}

func examineExternal(ctx context.Context, cfg Config) []checkup.Result {
	n, err := Start(ctx, cfg)
	if err != nil {
		f := fault.Of(err)
		return []checkup.Result{{Check: f.Code, Level: checkup.Failed, Found: f.Error(), Why: "nothing can be delivered", Fix: []string{f.Hint}}}
	}
	nc, err := n.Connect(ctx, "doctor")
	if err != nil {
		return []checkup.Result{{Check: CodeUnreachable, Level: checkup.Failed, Found: err.Error(), Why: "nothing can be delivered", Fix: []string{fault.Of(err).Hint}}}
	}
	results := []checkup.Result{checkup.Ok("nats", "%s answers: nats-server %s with JetStream", cfg.URL, nc.ConnectedServerVersion())}
	if _, err := nc.TLSConnectionState(); err == nil {
		results = append(results, checkup.Ok("nats_tls", "the connection is encrypted"))
	}
	if most := nc.MaxPayload(); most < PayloadBytesMax {
		results = append(results, checkup.Result{Check: "nats_max_payload", Level: checkup.Warning,
			Found: fmt.Sprintf("messages may have %d bytes", most), Why: "a row whose message is larger stops its pipeline",
			Fix: []string{fmt.Sprintf("max_payload: %dMB in the server's configuration, then reload it", PayloadBytesMax>>20)}})
	}
	if err := n.Close(ctx); err != nil {
		results = append(results, checkup.Result{Check: "nats", Level: checkup.Skipped, Found: "closing the connection", Why: err.Error()})
	}
	return results
}
