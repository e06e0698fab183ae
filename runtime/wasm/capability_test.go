package wasm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/sdk"
)

// memory is a KV, as batches leave it.
type memory map[string]string

func (m memory) Get(key []byte) ([]byte, bool, error) {
	v, ok := m[string(key)]
	return []byte(v), ok, nil
}

func (m memory) Scan(prefix, after []byte, f func(key, value []byte) bool) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, string(prefix)) && k > string(after) && !f([]byte(k), []byte(m[k])) {
			return nil
		}
	}
	return nil
}

func (m memory) Bytes() int64 {
	n := 0
	for k, v := range m {
		n += len(k) + len(v)
	}
	return int64(n)
}

// apply does what the pipeline does with a batch's writes.
func (m memory) apply(writes []Write) {
	for _, w := range writes {
		if w.Gone {
			delete(m, string(w.Key))
		} else {
			m[string(w.Key)] = string(w.Value)
		}
	}
}

var everything = []string{"kv", "metrics", "clock", "random", "secret"}

func capsStep(t testing.TB, c InstanceConfig, only func(*sdk.Schema) bool) *Step {
	t.Helper()
	c.Pipeline, c.Step = "shop", "caps"
	if c.Capabilities == nil {
		c.Capabilities = everything
	}
	s, err := NewStep(t.Context(), load(t, newHost(t), goGuest(t, "caps", everything...)), StepConfig{Instance: c, Only: only})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(t.Context()) })
	return s
}

// say runs rows through the step and returns what became of them.
func say(t testing.TB, s *Step, m memory, rows ...string) []string {
	t.Helper()
	var res Result
	if err := s.Process(t.Context(), batchOf(rows...), &res); err != nil {
		t.Fatal(err)
	}
	if m != nil {
		m.apply(res.Writes)
	}
	var said []string
	for i := range res.Out.Rows() {
		said = append(said, string(res.Out.Row(i).After().Bytes(1)))
	}
	return said
}

func same(t testing.TB, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestKV(t *testing.T) {
	m := memory{"old": "1", "a1": "x", "a3": "zzz"}
	s := capsStep(t, InstanceConfig{KV: m}, nil)
	got := say(t, s, m, "get old;get k;put k v;get k", "get k;delete k;get k;delete old;get old", "put a2 yy;scan a;scan a a1;scan x",
		"delete a1;put a4 1;scan a;put a4 22;scan a a2")
	same(t, []string{"1 true; false;put;v true", "v true;deleted; false;deleted; false", "put;a1=1,a2=2,a3=3,;a2=2,a3=3,;",
		"deleted;put;a2=2,a3=3,a4=1,;put;a3=3,a4=2,"}, got)
	same(t, memory{"a2": "yy", "a3": "zzz", "a4": "22"}, m)
	same(t, []string{"22 true;a2=2,a3=3,a4=2,"}, say(t, s, m, "get a4;scan a"))
	// More than a buffer holds, and than one scan gives.
	m["big"] = strings.Repeat("b", 60<<10)
	for n := range 2500 {
		m[fmt.Sprintf("n%04d", n)] = "x"
	}
	got = say(t, s, m, "get big;scan big", "scan n")
	same(t, "61440 bytes true;big=61440,", got[0])
	if n := strings.Count(got[1], "=1,"); n != 2500 || !slices.IsSorted(strings.Split(strings.TrimSuffix(got[1], ","), ",")) {
		t.Errorf("%d entries", n)
	}
}

// Writes count once, and only those of rows that were taken.
func TestKVOfRowsThatFail(t *testing.T) {
	m := memory{}
	s := capsStep(t, InstanceConfig{KV: m}, nil)
	in := repeat("get n;put n x", 40)
	in[3], in[17] = "put n bad;put bad 1;panic now", "put n bad;put bad 1;refuse"
	var res Result
	if err := s.Process(t.Context(), batchOf(in...), &res); err != nil {
		t.Fatal(err)
	}
	same(t, []int{3, 17}, deadOf(&res))
	rows := map[int]int{}
	for _, w := range res.Writes {
		rows[w.Row]++
		if string(w.Key) != "n" || string(w.Value) != "x" {
			t.Errorf("%+v", w)
		}
	}
	if len(rows) != 38 || len(res.Writes) != 38 || rows[3]+rows[17] != 0 {
		t.Errorf("%d writes for %v", len(res.Writes), rows)
	}
	first := string(res.Out.Row(0).After().Bytes(1))
	second := string(res.Out.Row(1).After().Bytes(1))
	same(t, []string{" false;put", "x true;put"}, []string{first, second})
	// A batch of which a step sees a part: the rows are those of the whole.
	s = capsStep(t, InstanceConfig{KV: m}, func(s *sdk.Schema) bool { return s.ID == 2 })
	if err := s.Process(t.Context(), batchOf("put a 1", "b/put b 1", "x", "b/put b 2;put c 3"), &res); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range res.Writes {
		got = append(got, fmt.Sprintf("%d %s=%s", w.Row, w.Key, w.Value))
	}
	same(t, []string{"1 b=1", "3 b=2", "3 c=3"}, got)
}

// A row that runs out of room is run twice and counted once.
func TestKVOfRowsThatRunOutOfRoom(t *testing.T) {
	m := memory{}
	for n := range 900 {
		m[fmt.Sprintf("key-with-a-long-name-%04d", n)] = "x"
	}
	s := capsStep(t, InstanceConfig{KV: m}, nil)
	var res Result
	if err := s.Process(t.Context(), batchOf("put z 1", "get m;put m 1;scan key;scan key", "get m"), &res); err != nil {
		t.Fatal(err)
	}
	if res.Calls < 2 || len(res.Writes) != 2 {
		t.Errorf("%d calls, %d writes", res.Calls, len(res.Writes))
	}
	if text := string(res.Out.Row(1).After().Bytes(1)); !strings.HasPrefix(text, " false;put;key") {
		t.Errorf("the row was run again over its own writes: %.30q", text)
	}
	same(t, "1 true", string(res.Out.Row(2).After().Bytes(1)))
}

func TestKVLimits(t *testing.T) {
	for _, tt := range []struct {
		name, row, code, text string
		quota                 int64
	}{
		{"operations", "flood k", "kv_limit", "10000 operations", 0},
		{"bytes", strings.TrimSuffix(strings.Repeat("fill k 65536;", 70), ";"), "kv_limit", "4 MiB", 0},
		{"quota", "fill a 500;fill a 600;fill b 500", "kv_quota", "may keep 1000", 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := memory{}
			s := capsStep(t, InstanceConfig{KV: m, KVBytesMax: tt.quota}, nil)
			var res Result
			err := s.Process(t.Context(), batchOf("put fine 1", tt.row), &res)
			refusedFor(t, err, tt.code, tt.text)
			if f := fault.Of(err); f.Class != fault.Fatal || f.Path != "shop/caps" {
				t.Errorf("%+v", f)
			}
			if len(res.Writes) != 0 {
				t.Errorf("%d writes of a batch that failed", len(res.Writes))
			}
			same(t, []string{"put;1 true"}, say(t, s, m, "put again 1;get again")) // the step goes on
		})
	}
	s := capsStep(t, InstanceConfig{KV: memory{}}, nil)
	var res Result
	if err := s.Process(t.Context(), batchOf("fill k 65537", "get "+strings.Repeat("k", 1025), "fill k 65536", "put "), &res); err != nil {
		t.Fatal(err)
	}
	same(t, []int{0, 1, 3}, deadOf(&res))
}

func TestMetrics(t *testing.T) {
	s := capsStep(t, InstanceConfig{KV: memory{}}, nil)
	say(t, s, nil, "count", "count abcdefghijklmnop")
	say(t, s, nil, "count", "panic now", "count") // run in parts, counted once
	same(t, []Metric{{Name: "rows_total", Kind: sdk.MetricCounter, Value: 4}, {Name: "depth", Kind: sdk.MetricGauge, Value: 2.5},
		{Name: "size_bytes", Kind: sdk.MetricHistogram, Value: 16, Bounds: []float64{10, 100}, Counts: []uint64{3, 1, 0}}}, s.Metrics().Snapshot())
	same(t, []string{"false;true;true;true;true;true;true"},
		say(t, s, nil, "declare fine;declare Large;declare a_total;declare rows_total;declare a_sum;declare _a;declare "+strings.Repeat("a", 65)))
	same(t, []string{"28"}, say(t, s, nil, "declare_many"))
}

// A host function that is long at work asks now and then whether it may go on.
func TestRandomFloodEndsInTime(t *testing.T) {
	i := guestless()
	i.ctx.parent, i.ctx.deadline = t.Context(), time.Now().Add(-time.Second)
	p := make([]byte, 64<<20)
	defer func() {
		if r := recover(); r != context.DeadlineExceeded {
			t.Errorf("it ended with %v", r)
		}
		if n := bytes.Count(p[len(p)/2:], []byte{0}); n != len(p)/2 {
			t.Error("half of it was filled first")
		}
	}()
	i.fillRandom(p)
}

// What a scan gives is bounded, and the largest entry fits.
func TestScanIsBounded(t *testing.T) {
	m := memory{}
	for n := range 40 {
		m[strings.Repeat(string(rune('A'+n)), sdk.KVKeyBytesMax)] = strings.Repeat("x", sdk.KVValueBytesMax)
	}
	i, mem := guestless(), make([]byte, 4<<20)
	i.kv, i.rowsEnd = newOverlay("p/s", m, 0), 1
	stack := []uint64{0, 0, 0, 0, 0, uint64(len(mem))}
	capabilities[sdk.ModuleKV].funcs["scan"].call(i, mem, stack)
	if entries, used := stack[0]>>32, stack[0]&(1<<32-1); entries < 1 || entries >= 40 || used > kvScanBytesMax {
		t.Errorf("%d entries, %d bytes", entries, used)
	}
}

// A guest that sleeps does not hang, and one that looks at the clock all the time
// does not keep its collector from working.
func TestClock(t *testing.T) {
	s := capsStep(t, InstanceConfig{KV: memory{}, Time: 20 * time.Second}, nil)
	in := batchOf("wall", "monotonic", "sleepers", "churn")
	want := fmt.Sprint(in.Time()*1000, " ", true)
	var res Result
	if err := s.Process(t.Context(), in, &res); err != nil {
		t.Fatal(err)
	}
	text := textsOf(res.Out)
	same(t, []string{"0 " + strings.ReplaceAll(want, " ", " "), "2 slept", "3 true"}, []string{text[0], text[2], text[3]})
	if d, err := time.ParseDuration(strings.TrimPrefix(text[1], "1 ")); err != nil || d < time.Hour || d > time.Hour+time.Second {
		t.Errorf("an hour of sleep took %q", text[1])
	}
}

// The same rows get the same random bytes in every run, and others others.
func TestRandom(t *testing.T) {
	s := capsStep(t, InstanceConfig{KV: memory{}}, nil)
	first := say(t, s, nil, "random", "random")
	if first[0] == first[1] {
		t.Error("the same twice")
	}
	same(t, first, say(t, s, nil, "random", "random"))
	same(t, first, say(t, capsStep(t, InstanceConfig{KV: memory{}}, nil), nil, "random", "random"))
	in := batchOf("drop me", "random")
	in.Keep(func(i int) bool { return i == 1 })
	var res Result
	if err := s.Process(t.Context(), in, &res); err != nil {
		t.Fatal(err)
	}
	if got := string(res.Out.Row(0).After().Bytes(1)); got == first[0] || got == first[1] {
		t.Error("another row got the same")
	}
}

func TestSecret(t *testing.T) {
	var log bytes.Buffer
	long := "t0p-" + strings.Repeat("s", 5000)
	s := capsStep(t, InstanceConfig{KV: memory{}, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Secrets: map[string]unit.Secret{"key": unit.NewSecret(long), "empty": unit.NewSecret("")}}, nil)
	same(t, []string{"5004 true true;0 true true;0 false true"}, say(t, s, nil, "secret key t0p;secret empty;secret other"))
	if text := fmt.Sprintf("%+v %#v", s.config.Instance, s.config.Instance); strings.Contains(text, "t0p") || strings.Contains(log.String(), "t0p") {
		t.Error("the secret is printed")
	}
}

// No pointer, length, row or number that a guest makes up does harm.
func TestCapabilitiesRefuseWildArguments(t *testing.T) {
	const wild = 1<<32 - 4
	i, mem := guestless(), make([]byte, 4096)
	i.config.Metrics = NewMetrics()
	i.kv = newOverlay("p/s", memory{}, 0)
	i.rowsFrom, i.rowsEnd = 2, 5
	copy(mem, "key")
	for _, tt := range []struct {
		module, name string
		want         int
		args         []uint64
	}{
		{sdk.ModuleKV, "get", sdk.CapInvalid, []uint64{wild, 8, 0, 8}}, {sdk.ModuleKV, "get", sdk.CapInvalid, []uint64{0, 0, 0, 8}},
		{sdk.ModuleKV, "get", sdk.CapInvalid, []uint64{0, 1025, 0, 8}}, {sdk.ModuleKV, "get", sdk.CapNotFound, []uint64{0, 3, 0, 8}},
		{sdk.ModuleKV, "put", sdk.CapInvalid, []uint64{2, wild, 8, 0, 8}}, {sdk.ModuleKV, "put", sdk.CapInvalid, []uint64{2, 0, 3, wild, 8}},
		{sdk.ModuleKV, "put", sdk.CapTooLarge, []uint64{2, 0, 3, 0, 1 << 17}}, {sdk.ModuleKV, "put", sdk.CapInvalid, []uint64{1, 0, 3, 0, 3}},
		{sdk.ModuleKV, "put", sdk.CapInvalid, []uint64{5, 0, 3, 0, 3}}, {sdk.ModuleKV, "put", 0, []uint64{3, 0, 3, 0, 3}},
		{sdk.ModuleKV, "put", sdk.CapInvalid, []uint64{2, 0, 3, 0, 3}}, // a row behind which one was written for
		{sdk.ModuleKV, "get", sdk.CapInvalid, []uint64{0, 3, wild, 8}}, {sdk.ModuleKV, "get", 3, []uint64{0, 3, 64, 1}},
		{sdk.ModuleKV, "delete", sdk.CapInvalid, []uint64{3, wild, 3}}, {sdk.ModuleKV, "undo", 0, []uint64{1 << 31}},
		{sdk.ModuleKV, "scan", sdk.CapInvalid, []uint64{wild, 8, 0, 0, 0, 8}}, {sdk.ModuleKV, "scan", sdk.CapInvalid, []uint64{0, 0, wild, 8, 0, 8}},
		{sdk.ModuleKV, "scan", sdk.CapInvalid, []uint64{0, 0, 0, 0, wild, 8}}, {sdk.ModuleKV, "scan", 14, []uint64{0, 0, 0, 0, 64, 8}},
		{sdk.ModuleMetrics, "declare", sdk.CapInvalid, []uint64{0, wild, 8, 0, 0}}, {sdk.ModuleMetrics, "declare", sdk.CapInvalid, []uint64{2, 0, 3, wild, 4}},
		{sdk.ModuleMetrics, "declare", sdk.CapInvalid, []uint64{2, 0, 3, 0, 17}}, {sdk.ModuleMetrics, "declare", sdk.CapInvalid, []uint64{3, 0, 3, 0, 0}},
		{sdk.ModuleMetrics, "declare", sdk.CapInvalid, []uint64{2, 0, 3, 64, 2}}, {sdk.ModuleMetrics, "add", sdk.CapNotFound, []uint64{7, 0}},
		{sdk.ModuleMetrics, "observe", sdk.CapNotFound, []uint64{1<<32 - 1, 0}},
		{sdk.ModuleRandom, "fill", sdk.CapInvalid, []uint64{wild, 8}}, {sdk.ModuleRandom, "fill", sdk.CapInvalid, []uint64{0, 1 << 31}},
		{sdk.ModuleSecret, "get", sdk.CapInvalid, []uint64{wild, 8, 0, 8}}, {sdk.ModuleSecret, "get", sdk.CapNotFound, []uint64{0, 3, 0, 8}},
	} {
		stack := append(slices.Clone(tt.args), 0, 0)
		capabilities[tt.module].funcs[tt.name].call(i, mem, stack)
		if got := int(int32(uint32(stack[0]))); got != tt.want {
			t.Errorf("%s.%s%v: %d, want %d", tt.module, tt.name, tt.args, got, tt.want)
		}
	}
	i.rowsEnd = 0
	for name, args := range map[string][]uint64{"get": {0, 3, 0, 8}, "put": {3, 0, 3, 0, 3}, "delete": {3, 0, 3}, "scan": {0, 0, 0, 0, 0, 8}} {
		stack := append(args, 0, 0)
		capabilities[sdk.ModuleKV].funcs[name].call(i, mem, stack)
		if got := int(int32(uint32(stack[0]))); got != sdk.CapNoBatch {
			t.Errorf("%s without a batch: %d", name, got)
		}
	}
}

// What the host does for a guest comes out of the guest's fuel.
func TestCapabilitiesCostFuel(t *testing.T) {
	i := guestless()
	i.ctx.granted = 0
	capabilities[sdk.ModuleRandom].funcs["fill"].call(i, make([]byte, 1<<16), []uint64{0, 1 << 16})
	if i.ctx.granted != 1<<16/16 {
		t.Errorf("64 KiB cost %d", i.ctx.granted)
	}
	i.ctx.granted = 0
	capabilities[sdk.ModuleSecret].funcs["get"].call(i, make([]byte, 1<<16), []uint64{0, 1 << 16, 0, 0})
	if i.ctx.granted != 1<<16/16 {
		t.Errorf("a secret's name of 64 KiB cost %d", i.ctx.granted)
	}
	// A scan sorts what the batch has written.
	i.kv, i.rowsEnd = newOverlay("p/s", memory{}, 0), 1
	var costs []int64
	for _, keys := range []int{0, 1000} {
		for k := range keys {
			if err := i.kv.write(0, fmt.Append(nil, k), nil, false); err != nil {
				t.Fatal(err)
			}
		}
		i.ctx.granted = 0
		capabilities[sdk.ModuleKV].funcs["scan"].call(i, make([]byte, 64), []uint64{0, 0, 0, 0, 0, 0})
		costs = append(costs, i.ctx.granted)
	}
	if costs[0] < 1000 || costs[1]-costs[0] != 1000*kvMergeCost/16 {
		t.Errorf("scans cost %d", costs)
	}
	s := capsStep(t, InstanceConfig{KV: memory{}, Fuel: 3_000_000}, nil)
	var res Result
	if err := s.Process(t.Context(), batchOf("flood k"), &res); err != nil {
		t.Fatal(err)
	}
	if len(res.Dead) != 1 || !strings.Contains(res.Dead[0].Reason, "used up the fuel") || len(res.Writes) != 0 {
		t.Errorf("%+v", res.Dead)
	}
}

// A function of a capability with another type is refused at load.
func TestCapabilityTypes(t *testing.T) {
	f := forged{buf: 65536, pages: 8, imports: [][2]string{{sdk.ModuleKV, "get"}}, importType: 3}
	_, err := newHost(t).Load(t.Context(), stamp(t, f.bytes(), "odd", "kv"))
	refusedFor(t, err, "module_invalid", "cdcd:kv/1.get with the type")
}

// Each capability must be granted and listed; the error says which is missing.
func TestEachCapabilityIsGranted(t *testing.T) {
	h := newHost(t)
	for _, missing := range everything {
		rest := slices.DeleteFunc(slices.Clone(everything), func(s string) bool { return s == missing })
		_, err := load(t, h, goGuest(t, "caps", everything...)).Instantiate(t.Context(), InstanceConfig{Capabilities: rest})
		refusedFor(t, err, "capability_not_granted", `"`+missing+`"`)
		if hint := fault.Of(err).Hint; !strings.Contains(hint, "allow: ["+missing+"]") {
			t.Errorf("hint %q", hint)
		}
		_, err = load(t, h, goGuest(t, "caps", rest...)).Instantiate(t.Context(), InstanceConfig{Capabilities: everything})
		refusedFor(t, err, "capability_not_declared", `"`+missing+`"`)
	}
}
