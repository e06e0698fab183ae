package oracle

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/testserver"
)

// stateScenarios are those of damage to the files of cdcd's own state.
func stateScenarios() []scenario {
	return []scenario{
		{name: "files of cdcd's state flipped, cut off or removed", share: 0.03, least: 10, harm: damageState, setup: onMySQL(keepingAndRefusing)},
		{name: "objects of copies flipped, cut off or removed, then the machine lost", share: 0.03, least: 6, harm: damageCopies, setup: onMariaDB(keepingAndRefusing)},
	}
}

// keepingAndRefusing is a pipeline with all that a state is for, and copies of it.
func keepingAndRefusing(t *testing.T, db *testserver.DB) setup {
	t.Helper()
	s := copied(t, db)
	s.steps, s.refused, s.load = keepAndRefuse(t), true, Options{LargeEvery: 200}
	return s
}

// stateFiles are the kinds of files of a state directory. One that was closed in
// order has a seal.
var stateFiles = []struct{ kind, pattern string }{
	{"log", "*.log"},
	{"table", "*.sst"},
	{"MANIFEST", "MANIFEST-*"},
	{"OPTIONS", "OPTIONS-*"},
	{"marker of the format", "marker.format-version.*"},
	{"marker of the manifest", "marker.manifest.*"},
	{"SEEN", "SEEN"},
	{"REACHED", "REACHED"},
	{"SEAL", "SEAL"},
}

// damageState damages a file of the state directory while cdcd is down, in the
// middle of the load. cdcd then goes on, or stops with a fault that says what to
// do; that is done, and it goes on.
func damageState(r *rig, rounds int) {
	d := r.daemons[0]
	defer r.keepAndRefused(d)()
	r.waitFor("a copy", func() bool { return len(r.manifests()) > 0 })
	came := cases{}
	d.endMayCome(true)
	for k := range rounds {
		r.nap(300*time.Millisecond, 2*time.Second)
		f, way := stateFiles[k%len(stateFiles)], (k+k/len(stateFiles))%3
		if r.ended(d) { // of damage of a round before, which it met now
			came.add("noticed later", r.mend(d))
		}
		if f.kind == "SEAL" || k/len(stateFiles)%2 == 1 {
			d.stop()
		} else {
			d.kill()
			r.kills++
		}
		what := r.spoil(d.state, f.pattern, way)
		outcome := r.mend(d)
		r.t.Logf("seed %d, round %d: %s: %s", r.seed, k, what, outcome)
		came.add(f.kind+", "+ways[way], outcome)
	}
	d.stop()
	for s, err := d.survey(); !s.OK; s, err = d.survey() { // what no round has met
		r.t.Logf("seed %d: left at the end: %v, %v", r.seed, s.Damage, err)
		r.follow(d, "cdcd checkpoint quarantine, then cdcd checkpoint restore --remote")
		came.add("found by verify at the end", r.mend(d))
		d.stop()
	}
	d.endMayCome(false)
	r.t.Logf("\n%s", came)
	r.note("%s", came.totals())
}

// keepAndRefused has rows written that are refused, until the function that it
// returns is called, and has judged at the end what is kept besides the stream.
func (r *rig) keepAndRefused(d *daemon) (stop func()) {
	r.number()
	verdict := r.verdict
	r.verdict = func(report *Report) {
		verdict(report)
		r.kept(d, report, len(r.numbered.last))
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	refused := make(chan struct{})
	go func() { defer close(refused); r.refuse(ctx) }()
	return func() { cancel(); <-refused }
}

// cases counts what became of each kind of damage.
type cases map[string]map[string]int

func (c cases) add(what, outcome string) {
	if c[what] == nil {
		c[what] = map[string]int{}
	}
	c[what][outcome]++
}

// String is a Markdown table.
func (c cases) String() string {
	var b strings.Builder
	b.WriteString("| damage | what came of it |\n|---|---|\n")
	for _, what := range slices.Sorted(maps.Keys(c)) {
		fmt.Fprintf(&b, "| %s | %v |\n", what, outcomes(c[what]))
	}
	return b.String()
}

func (c cases) totals() outcomes {
	all := outcomes{}
	for _, came := range c {
		for outcome, n := range came {
			all[outcome] += n
		}
	}
	return all
}

var ways = []string{"a bit flipped", "cut off", "removed"}

// spoil damages one of the files in a directory, and says what it did.
func (r *rig) spoil(dir, pattern string, way int) string {
	r.t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		r.t.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	path := paths[r.dice.IntN(len(paths))]
	if !strings.HasSuffix(pattern, ".sst") { // of logs and lists the one in use
		path = slices.MaxFunc(paths, func(a, b string) int { return cmp.Compare(sizeOf(a), sizeOf(b)) })
	}
	return r.spoilOne(path, way)
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return info.Size()
}

// spoilOne damages a file, and says what it did.
func (r *rig) spoilOne(path string, way int) string {
	r.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	what := fmt.Sprintf("%s of %d bytes, %s", filepath.Base(path), len(content), ways[way])
	r.faults++
	if way == 2 {
		if err := os.Remove(path); err != nil {
			r.t.Fatal(err)
		}
		return what
	}
	switch {
	case len(content) == 0:
		content = []byte{1}
	case way == 0:
		at := r.dice.IntN(len(content))
		content[at] ^= 1 << r.dice.IntN(8)
		what += fmt.Sprintf(" at %d", at)
	default:
		content = content[:r.dice.IntN(len(content))]
		what += fmt.Sprintf(" to %d", len(content))
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return what
}

// Outcomes of damage to cdcd's state.
const (
	wentOn      = "went on"
	broughtUp   = "went on with an earlier state, brought up to the stream"
	restored    = "restored a copy by itself"
	commandsMax = 5 // of faults in a row
)

// mend starts cdcd until messages flow, doing what its faults say, and returns
// what came of it.
func (r *rig) mend(d *daemon) string {
	r.t.Helper()
	var came []string
	for range commandsMax {
		at, from := time.Now(), d.written()
		d.start()
		m := mark{from: at, after: at, claims: true}
		ended := false
		r.waitFor("messages after damage, or the end", func() bool {
			ended = d.awaitEnd(10 * time.Millisecond)
			return ended || r.behind(m)
		})
		if !ended {
			r.marks = append(r.marks, &m)
			switch text := from(); {
			case len(came) > 0:
				return strings.Join(came, ", ") + ", and what its hint says"
			case bytes.Contains(text, []byte("the state lost its last writes")):
				return broughtUp
			case bytes.Contains(text, []byte("restored the state from a copy")):
				return restored
			}
			return wentOn
		}
		d.kill()
		code, hint := faultIn(from())
		came = append(came, code)
		r.t.Logf("%s: %s", code, hint)
		r.follow(d, hint)
	}
	r.keep()
	r.t.Fatalf("seed %d: cdcd says what to do again and again: %v", r.seed, came)
	return ""
}

// ended reports whether a daemon has ended by itself.
func (r *rig) ended(d *daemon) bool { return d.awaitEnd(time.Millisecond) }

var (
	hinted    = regexp.MustCompile(`cdcd (checkpoint (?:quarantine|restore --remote))`)
	faultCode = regexp.MustCompile(`\[([a-z_]+)\]$`)
)

// faultIn returns the code and the hint that a cdcd ended with: lines that begin
// with "error: ", and behind them one that is indented.
func faultIn(output []byte) (code, hint string) {
	_, text, found := strings.Cut("\n"+string(output), "\nerror: ")
	if what, rest, ok := strings.Cut(text, "\n       "); found && ok {
		hint, _, _ = strings.Cut(rest, "\n")
		if m := faultCode.FindStringSubmatch(what); m != nil {
			return m[1], hint
		}
	}
	return "no fault", hint
}

// follow carries out the commands that a hint names.
func (r *rig) follow(d *daemon, hint string) {
	r.t.Helper()
	commands := hinted.FindAllStringSubmatch(hint, -1)
	if len(commands) == 0 {
		r.keep()
		r.t.Fatalf("seed %d: a hint that names no command: %q", r.seed, hint)
	}
	for _, c := range commands {
		args := strings.Fields(c[1])
		if _, err := d.ask(slices.Insert(args, 2, d.config)...); err != nil {
			r.keep()
			r.t.Fatalf("seed %d: %v", r.seed, err)
		}
	}
}

// stop is SIGTERM; it returns when the process has ended in order.
func (d *daemon) stop() {
	d.r.t.Helper()
	d.signal(syscall.SIGTERM)
	if !d.awaitEnd(time.Minute) {
		d.r.t.Errorf("cdcd does not stop")
	}
	d.kill()
}

// endMayCome says whether the daemon may end by itself.
func (d *daemon) endMayCome(may bool) {
	d.kill()
	d.mayEnd = may
	d.start()
}

// written returns what gives the output from here on.
func (d *daemon) written() func() []byte {
	info, err := os.Stat(d.output.Name())
	return func() []byte {
		text, rerr := os.ReadFile(d.output.Name())
		if err != nil || rerr != nil {
			d.r.t.Fatal(err, rerr)
		}
		return text[info.Size():]
	}
}
