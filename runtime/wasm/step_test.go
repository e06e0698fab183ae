package wasm

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

func labStep(t testing.TB, c StepConfig) *Step {
	t.Helper()
	c.Instance.Pipeline, c.Instance.Step = "shop", "lab"
	s, err := NewStep(t.Context(), load(t, newHost(t), goGuest(t, "lab")), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func onlyA(s *sdk.Schema) bool { return s.Table == "a" }

func deadOf(res *Result) []int {
	var rows []int
	for _, d := range res.Dead {
		rows = append(rows, d.Row)
	}
	return rows
}

func TestStepOnly(t *testing.T) {
	s := labStep(t, StepConfig{Only: onlyA})
	var res Result
	tests := []struct {
		name     string
		in, want []string
		dead     []int
		calls    int
	}{
		{"no row chosen", []string{"b/panic", "b/edit:x"}, []string{"0 panic", "1 edit:x"}, nil, 0},
		{"some", []string{"b/edit:x", "edit:y", "b/drop", "drop", "x"}, []string{"0 edit:x", "1 y", "2 drop", "4 x"}, nil, 1},
		{"replaced and dead", []string{"b/1", "replace:2", "dead:d", "b/2", "new:1"},
			[]string{"0 1", "1 replace:2", "1 replace:2", "3 2", "4 new"}, []int{2}, 1},
		{"passed", []string{"b/1", "x"}, []string{"0 1", "1 x"}, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := batchOf(tt.in...)
			if err := s.Process(t.Context(), in, &res); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, textsOf(res.Out)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.dead, deadOf(&res)); d != "" || res.Calls != tt.calls {
				t.Error(d, res.Calls)
			}
			if n := res.Passed + res.Edited + res.Dropped + res.Replaced + len(res.Dead); n != in.Rows() {
				t.Errorf("%d of %d rows accounted for: %+v", n, in.Rows(), res)
			}
			if res.Out.Seq() != 7 || res.Out.Time() != in.Time() {
				t.Error("sequence or time lost")
			}
		})
	}
}

// Rows of other tables keep their schema when the connector changes its own.
func TestStepSchemas(t *testing.T) {
	s := labStep(t, StepConfig{Only: onlyA, Instance: InstanceConfig{Config: []byte(`"retype"`)}})
	for _, texts := range [][]string{{"b/x", "edit:1", "drop"}, {"panic:1", "b/y", "edit:2"}} {
		var res Result
		if err := s.Process(t.Context(), batchOf(texts...), &res); err != nil {
			t.Fatal(err)
		}
		for i := range res.Out.Rows() {
			r := res.Out.Row(i)
			want := sdk.TypeInt
			if r.Schema().Table == "a" {
				want = sdk.TypeString
			}
			if got := r.Schema().Columns[0].Type; got != want {
				t.Errorf("%s.id has type %v", r.Schema().FullName(), got)
			}
			if want == sdk.TypeString && string(r.After().Bytes(0)) != "id" {
				t.Errorf("id is %q", r.After().Bytes(0))
			}
		}
	}
	// A row passed as it is has a number where the schema now says text.
	err := s.Process(t.Context(), batchOf("x", "x", "edit:1"), &Result{})
	if err != nil && !fault.HasCode(err, codeABI) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Schema(t.Context(), &sdk.Schema{ID: 3, DB: "shop", Table: "forbidden"}); err != nil {
		t.Errorf("a table outside only: %v", err)
	}
}

func TestStepSchemaRefused(t *testing.T) {
	s := labStep(t, StepConfig{})
	_, err := s.Schema(t.Context(), &sdk.Schema{ID: 3, DB: "shop", Table: "forbidden"})
	refusedFor(t, err, "step_schema", "this table is not for me")
	var res Result
	if err := s.Process(t.Context(), batchOf("edit:x"), &res); err != nil {
		t.Errorf("a refusal must leave the instance in use: %v", err)
	}
}

func TestStepIsolatesCrashes(t *testing.T) {
	s := labStep(t, StepConfig{})
	in := make([]string, 100)
	for i := range in {
		in[i] = "x"
	}
	in[3], in[17], in[64], in[98], in[99] = "panic:three", "edit:e", "exit:2", "replace:2", "drop"
	var res Result
	if err := s.Process(t.Context(), batchOf(in...), &res); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{3, 64}, deadOf(&res)); d != "" {
		t.Error(d)
	}
	if !res.Dead[0].Trap || !strings.Contains(res.Dead[0].Reason, "three") {
		t.Errorf("%+v", res.Dead[0])
	}
	if res.Passed != 95 || res.Edited != 1 || res.Replaced != 1 || res.Dropped != 1 || res.Out.Rows() != 98 {
		t.Errorf("%d passed, %d edited, %d replaced, %d dropped; %d rows out", res.Passed, res.Edited, res.Replaced, res.Dropped, res.Out.Rows())
	}
	if got := textsOf(res.Out); got[16-1] != "16 x" || got[17-1] != "17 e" || got[97] != "98 replace:2" {
		t.Errorf("%q", got)
	}
	if s.Restarts() > 20 {
		t.Errorf("%d restarts for two rows", s.Restarts())
	}
	if err := s.Process(t.Context(), batchOf("edit:after"), &res); err != nil || textsOf(res.Out)[0] != "0 after" {
		t.Errorf("the step is of no more use: %v", err)
	}
}

func TestStepGivesUpOnManyCrashes(t *testing.T) {
	in := make([]string, crashesMax+1)
	for i := range in {
		in[i] = "panic"
	}
	err := labStep(t, StepConfig{}).Process(t.Context(), batchOf(in...), &Result{})
	refusedFor(t, err, "step_crashes", "more than 32 rows")
}

func TestStepTimeoutHalts(t *testing.T) {
	s := labStep(t, StepConfig{Instance: InstanceConfig{Time: 500 * time.Millisecond}})
	var res Result
	err := s.Process(t.Context(), batchOf("x", "loop"), &res)
	refusedFor(t, err, codeTimeout, "did not return within 500ms")
	if fault.Of(err).Class == fault.Poison || s.Restarts() != 1 {
		t.Errorf("class %v, %d restarts", fault.Of(err).Class, s.Restarts())
	}
	if err := s.Process(t.Context(), batchOf("x"), &res); err != nil {
		t.Errorf("the next batch: %v", err)
	}
}

func TestStepSurvivesACancelledCall(t *testing.T) {
	s := labStep(t, StepConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := s.Process(ctx, batchOf("loop"), &Result{}); err == nil || ctx.Err() == nil {
		t.Fatal(err)
	}
	if err := s.Process(t.Context(), batchOf("x"), &Result{}); err != nil {
		t.Error(err)
	}
}

// A batch that grows beyond its room is taken through in several calls, and
// what was done before is not done again.
func TestTransformInSeveralCalls(t *testing.T) {
	i := labInstance(t, "")
	in := []string{"count", "grow:60000", "count", "grow:60000", "replace:1", "grow:60000", "count", "dead:x"}
	var res Result
	if err := i.Transform(t.Context(), batchOf(in...), &res); err != nil {
		t.Fatal(err)
	}
	if res.Calls < 2 || res.Edited != 6 || res.Replaced != 1 || len(res.Dead) != 1 {
		t.Errorf("%d calls, %d edited", res.Calls, res.Edited)
	}
	for _, r := range []int{1, 3, 5} {
		if n := len(res.Out.Row(r).After().Bytes(1)); n != 60000 {
			t.Errorf("row %d has %d bytes", r, n)
		}
	}
	if got := string(res.Out.Row(0).After().Bytes(1)); got != "1" {
		t.Errorf("the first row was given %s times", got)
	}
}

func TestGuestSurroundings(t *testing.T) {
	s := labStep(t, StepConfig{})
	var res Result
	run := func(command string) string {
		t.Helper()
		if err := s.Process(t.Context(), batchOf(command), &res); err != nil {
			t.Fatal(err)
		}
		return string(res.Out.Row(0).After().Bytes(1))
	}
	if got := run("now"); got != "2023-11-14T22:13:20.123456Z true 0" {
		t.Errorf("the clock is not the batch's commit time: %s", got)
	}
	began := time.Now()
	if got := run("sleep:60000"); got != "1m0s" || time.Since(began) > 5*time.Second {
		t.Errorf("a sleep of a minute took %s of the guest's time and %v of ours", got, time.Since(began))
	}
	if got := run("file"); got != "true" {
		t.Error("the guest could read a file")
	}
}

func TestTransformAllocations(t *testing.T) {
	i := labInstance(t, "")
	for _, command := range []string{"pass", "edit:abc", "drop", "replace:1"} {
		in := batchOf(repeat(command, 64)...)
		var res Result
		for range 3 {
			if err := i.Transform(t.Context(), in, &res); err != nil {
				t.Fatal(err)
			}
		}
		ctx := t.Context()
		n := testing.AllocsPerRun(50, func() { _ = i.Transform(ctx, in, &res) })
		if n > 0 {
			t.Errorf("%s: %v allocations per batch", command, n)
		}
	}
}

func repeat(command string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = command
	}
	return list
}

func BenchmarkTransform(b *testing.B) {
	for _, command := range []string{"pass", "edit:abcdefgh", "drop", "replace:1"} {
		b.Run(command[:4], func(b *testing.B) {
			i := labInstance(b, "")
			in := batchOf(repeat(command, 256)...)
			var res Result
			b.ReportAllocs()
			b.SetBytes(int64(len(in.Bytes())))
			for b.Loop() {
				if err := i.Transform(b.Context(), in, &res); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/row")
		})
	}
}

func BenchmarkInstantiate(b *testing.B) {
	m := load(b, newHost(b), goGuest(b, "lab"))
	b.ReportAllocs()
	for b.Loop() {
		i, err := m.Instantiate(b.Context(), InstanceConfig{})
		if err != nil {
			b.Fatal(err)
		}
		_, _ = i.Close(b.Context())
	}
}
