package natsd

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

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
	if _, err := cfg.TLS.server(); err != nil {
		results = append(results, failed(err))
	}
	if err := cfg.Access.check(cfg.Listen); err != nil {
		results = append(results, failed(err))
	} else if cfg.Listen != "" && !loopback(cfg.Listen) && cfg.TLS.isZero() {
		results = append(results, checkup.Result{Check: "nats_tls", Level: checkup.Warning, Found: "other machines connect without TLS",
			Why: "whoever is between reads passwords and changes", Fix: []string{"write cert and key under nats.embedded.tls"}})
	}
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
		free, _, err = diskSpace(dir)
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
		return []checkup.Result{failed(err)}
	}
	nc, err := n.Connect(ctx, "doctor")
	if err != nil {
		return []checkup.Result{failed(err)}
	}
	results := []checkup.Result{checkup.Ok("nats", "%s answers: nats-server %s with JetStream", cfg.place(), nc.ConnectedServerVersion())}
	results = append(results, encryption(nc), login(cfg, nc), n.cluster(ctx, nc))
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

func failed(err error) checkup.Result {
	f := fault.Of(err)
	return checkup.Result{Check: f.Code, Level: checkup.Failed, Found: f.Error(), Why: "nothing can be delivered", Fix: []string{f.Hint}}
}

// encryption looks whether others can read along.
func encryption(nc *nats.Conn) checkup.Result {
	if state, err := nc.TLSConnectionState(); err == nil {
		return checkup.Ok("nats_tls", "the connection is encrypted with %s", tls.VersionName(state.Version))
	}
	if u, err := url.Parse(nc.ConnectedUrl()); err == nil && loopback(u.Host) {
		return checkup.Ok("nats_tls", "the connection is not encrypted, and does not leave the machine")
	}
	return checkup.Result{Check: "nats_tls", Level: checkup.Warning, Found: "the connection is not encrypted",
		Why: "whoever is between reads the changes", Fix: []string{"tls { cert_file: ..., key_file: ... } in the servers' configuration, and tls:// in nats.url"}}
}

// login looks whether the server asks who comes in. One that has a user for those
// who don't say who they are tells it the client in its first words, and says the
// opposite a moment later: whoever came in without a login knows better.
func login(cfg Config, nc *nats.Conn) checkup.Result {
	if nc.AuthRequired() && !cfg.anonymous() {
		return checkup.Ok("nats_login", "the server asks for a login and takes that of %s", cfg.loginKey())
	}
	return checkup.Result{Check: "nats_login", Level: checkup.Warning, Found: "the server lets everybody in",
		Why: "whoever reaches it can write to the pipelines' streams, or delete them",
		Fix: []string{"authorization or accounts in the servers' configuration, with the right to publish to cdc.> for cdcd alone"}}
}

// cluster tells of how many servers there are.
func (n *NATS) cluster(ctx context.Context, nc *nats.Conn) checkup.Result {
	name := nc.ConnectedClusterName()
	if name == "" {
		return checkup.Ok("nats_cluster", "one server; the streams are as safe as its disk")
	}
	// What a server tells of the others is seen apart from what was configured
	// only by who has configured that one alone.
	alone := &NATS{cfg: n.cfg, conns: map[*nats.Conn]error{}}
	alone.cfg.URL = nc.ConnectedUrl()
	c, err := alone.Connect(ctx, "doctor")
	if err != nil {
		return checkup.Result{Check: "nats_cluster", Level: checkup.Skipped, Found: "how many servers there are is not known", Why: err.Error()}
	}
	defer c.Close()
	running := 1 + len(c.DiscoveredServers())
	if running < 3 {
		return checkup.Result{Check: "nats_cluster", Level: checkup.Warning, Found: fmt.Sprintf("%d servers of the cluster %s run", running, name),
			Why: "a stream with three copies needs three servers, and goes on with two", Fix: []string{"start the others, or add servers"}}
	}
	return checkup.Ok("nats_cluster", "%d servers of the cluster %s run", running, name)
}
