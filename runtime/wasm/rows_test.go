package wasm

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Wherever a connector crashes or runs out of fuel, those rows are refused, the
// others go on as they should, and the input is what it was.
func TestRowsThatFailAreFound(t *testing.T) {
	const n = 6
	s := labStep(t, StepConfig{Instance: InstanceConfig{Time: time.Minute, Fuel: 20_000_000}})
	check := func(t *testing.T, commands map[int]string) {
		t.Helper()
		in, want, dead := make([]string, n), []string(nil), []int(nil)
		for i := range in {
			in[i] = fmt.Sprintf("edit:e%d", i)
			if c, ok := commands[i]; ok {
				in[i] = c
				dead = append(dead, i)
			} else {
				want = append(want, fmt.Sprintf("%d e%d", i, i))
			}
		}
		batch := batchOf(in...)
		before := string(batch.Bytes())
		var res Result
		if err := s.Process(t.Context(), batch, &res); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(dead, deadOf(&res)); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(want, textsOf(res.Out)); d != "" {
			t.Error(d)
		}
		for _, d := range res.Dead {
			if !d.Trap || d.Reason == "" {
				t.Errorf("%+v", d)
			}
		}
		if string(batch.Bytes()) != before {
			t.Error("the input changed")
		}
	}
	for _, command := range []string{"panic:why", "exit:1", "loop"} { // without an end, the fuel ends it
		for k := range n {
			t.Run(fmt.Sprint(command, " on row ", k), func(t *testing.T) { check(t, map[int]string{k: command}) })
		}
	}
	for a := range n {
		for b := a + 1; b < n; b++ {
			t.Run(fmt.Sprint("rows ", a, " and ", b), func(t *testing.T) { check(t, map[int]string{a: "panic:why", b: "loop"}) })
		}
	}
	t.Run("all rows", func(t *testing.T) {
		all := map[int]string{}
		for i := range n {
			all[i] = "panic:why"
		}
		check(t, all)
	})
}

// A row that crashes the connector in a later call for the batch than the first:
// what earlier calls did is done again, once.
func TestRowThatFailsInALaterCall(t *testing.T) {
	s := labStep(t, StepConfig{})
	var res Result
	if err := s.Process(t.Context(), batchOf("grow:60000", "grow:60000", "panic:late", "grow:60000", "x"), &res); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]int{2}, deadOf(&res)); d != "" || res.Edited != 3 || res.Passed != 1 || res.Out.Rows() != 4 {
		t.Error(d, res.Edited, res.Passed)
	}
	for _, r := range []int{0, 1, 2} {
		if n := len(res.Out.Row(r).After().Bytes(1)); n != 60000 {
			t.Errorf("row %d has %d bytes", r, n)
		}
	}
}

// Time refuses no row, in whatever part of a batch it runs out: it halts.
func TestTimeRefusesNoRow(t *testing.T) {
	s := labStep(t, StepConfig{Instance: InstanceConfig{Time: 400 * time.Millisecond}})
	for _, in := range [][]string{{"loop"}, {"x", "loop", "x"}, {"panic:first", "x", "x", "loop"}} {
		var res Result
		err := s.Process(t.Context(), batchOf(in...), &res)
		refusedFor(t, err, codeTimeout, "did not return within 400ms")
		if fault.Of(err).Class == fault.Poison {
			t.Errorf("%v blames a row", err)
		}
		for _, d := range res.Dead {
			if in[d.Row] == "loop" {
				t.Errorf("row %d was refused for its time", d.Row)
			}
		}
	}
	var res Result
	if err := s.Process(t.Context(), batchOf("edit:after"), &res); err != nil || textsOf(res.Out)[0] != "0 after" {
		t.Errorf("the step is of no more use: %v", err)
	}
}

// The fuel and the time of a batch are those of all its calls together, and each
// part of a batch that failed has all of them again.
func TestBudgetsAreABatchs(t *testing.T) {
	i := labInstance(t, "")
	var one, res Result
	if err := i.Transform(t.Context(), batchOf("work:200000"), &one); err != nil {
		t.Fatal(err)
	}
	s := labStep(t, StepConfig{Instance: InstanceConfig{Time: time.Minute, Fuel: 3 * one.Fuel}})
	for range 4 { // no batch pays for the one before
		if err := s.Process(t.Context(), batchOf("work:200000", "x"), &res); err != nil || len(res.Dead) != 0 || s.Restarts() != 0 {
			t.Fatal(err, res.Dead, s.Restarts())
		}
	}
	if err := s.Process(t.Context(), batchOf(repeat("work:200000", 8)...), &res); err != nil || len(res.Dead) != 0 || s.Restarts() == 0 {
		t.Errorf("%v, %d dead, %d restarts", err, len(res.Dead), s.Restarts())
	}
}
