package checkup_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cdcd-io/cdcd/internal/checkup"
)

func TestResultInJSON(t *testing.T) {
	results := []checkup.Result{
		checkup.Ok("log_bin", "log_bin is %s", "ON"),
		{Check: "binlog_format", Level: checkup.Failed, Found: "binlog_format is MIXED", Why: "changes are missing",
			Fix: []string{"SET PERSIST binlog_format = ROW"}, SQL: true},
	}
	text, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"check":"log_bin","level":"ok","found":"log_bin is ON"},` +
		`{"check":"binlog_format","level":"failed","found":"binlog_format is MIXED","why":"changes are missing",` +
		`"fix":["SET PERSIST binlog_format = ROW"],"sql":true}]`
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
}

func TestWorst(t *testing.T) {
	level := func(l ...checkup.Level) (all []checkup.Result) {
		for _, l := range l {
			all = append(all, checkup.Result{Level: l})
		}
		return all
	}
	for _, c := range []struct {
		results []checkup.Result
		want    checkup.Level
	}{
		{nil, checkup.OK},
		{level(checkup.OK, checkup.Skipped), checkup.Skipped},
		{level(checkup.Warning, checkup.OK), checkup.Warning},
		{level(checkup.Warning, checkup.Failed, checkup.OK), checkup.Failed},
	} {
		if got := checkup.Worst(c.results); got != c.want {
			t.Errorf("%v: %v, want %v", c.results, got, c.want)
		}
	}
}
