package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// A state is exported from a daemon that runs and from one that is stopped,
// verified, damaged, moved away and restored; the pipeline then goes on.
func TestCheckpoint(t *testing.T) {
	file := refusing(t, "")
	dir := filepath.Dir(file)
	stop := daemon(t, file)
	names := regexp.MustCompile(regexp.QuoteMeta(dir))
	show := func(golden string, run interface {
		Run(*console, *signals) error
	}) {
		t.Helper()
		text, err := verb(t, false, run)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		goldenText(t, golden, names.ReplaceAllString(text, "DIR"))
	}
	running, stopped := filepath.Join(dir, "running.tar"), filepath.Join(dir, "stopped.tar")
	show("checkpoint_list.golden", &checkpointListCmd{Config: file})
	if _, err := verb(t, true, &checkpointExportCmd{Config: file, File: running}); err != nil {
		t.Fatal(err)
	}
	for _, run := range []interface {
		Run(*console, *signals) error
	}{&checkpointVerifyCmd{Config: file}, quarantining{checkpointQuarantineCmd{Config: file}}} {
		if _, err := verb(t, false, run); !fault.HasCode(err, "state_dir_in_use") || !strings.Contains(fault.Of(err).Hint, "stop the daemon") {
			t.Error("under a daemon:", err)
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	show("checkpoint_list.golden", &checkpointListCmd{Config: file})
	if _, err := verb(t, false, &checkpointExportCmd{Config: file, File: stopped}); err != nil {
		t.Fatal(err)
	}
	if _, err := verb(t, false, &checkpointExportCmd{Config: file, File: stopped}); !fault.HasCode(err, "export_unwritable") {
		t.Error("over a file:", err)
	}
	for _, archive := range []string{running, stopped} {
		if text, err := verb(t, true, &checkpointVerifyCmd{Config: archive}); err != nil || !strings.Contains(text, `"ok":true`) {
			t.Error(text, err)
		}
		if _, err := verb(t, false, &checkpointRestoreCmd{Config: file, File: archive}); !fault.HasCode(err, "state_dir_occupied") {
			t.Error("over a state:", err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Error("an export leaves", left)
	}
	show("checkpoint_verify.golden", &checkpointVerifyCmd{Config: file})

	tables, _ := filepath.Glob(filepath.Join(dir, "cdcd-data", "*.sst"))
	data, err := os.ReadFile(tables[len(tables)-1])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(tables[len(tables)-1], data, 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := verb(t, true, &checkpointVerifyCmd{Config: file})
	var found struct {
		OK     bool
		Damage []string
	}
	if jerr := json.Unmarshal([]byte(text), &found); jerr != nil || found.OK || len(found.Damage) == 0 {
		t.Errorf("a damaged state: %s %v", text, err)
	}
	if text, err := verb(t, false, quarantining{checkpointQuarantineCmd{Config: file}}); err != nil || !strings.Contains(text, "quarantine-") {
		t.Fatal(text, err)
	}
	if text, err := verb(t, false, &checkpointListCmd{Config: file}); err != nil || !strings.HasPrefix(text, "shop: no checkpoint; ") {
		t.Error(text, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "cdcd-data")); err != nil {
		t.Fatal(err)
	}
	if text, err := verb(t, false, &checkpointRestoreCmd{Config: file, File: running}); err != nil || !strings.Contains(text, "with 1 pipeline") {
		t.Fatal(text, err)
	}
	if text, err := verb(t, false, &checkpointListCmd{Config: file}); err != nil || !strings.Contains(text, "restored from a copy") {
		t.Error(text, err)
	}
	stop = daemon(t, file) // goes on where the sink stands
	if text, err := verb(t, false, &dlqListCmd{Config: file, Limit: 1}); err != nil || !strings.Contains(text, "of 29 dead letters kept") {
		t.Error(text, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// quarantining is a verb that needs no signals.
type quarantining struct{ checkpointQuarantineCmd }

func (v quarantining) Run(out *console, _ *signals) error { return v.checkpointQuarantineCmd.Run(out) }
