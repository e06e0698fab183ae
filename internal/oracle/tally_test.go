package oracle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// 2,000 kills are 1,500 of cdcd, 400 of a broker, 50 of a stream's leader and 50
// of databases; the other scenarios come on top.
func TestScenariosShareTheKills(t *testing.T) {
	got := map[string]int{}
	for _, s := range killScenarios() {
		kind, _, _ := strings.Cut(s.name, ",")
		kind = strings.TrimSuffix(kind, " with its broker in it")
		got[strings.TrimPrefix(kind, "SIGKILL of ")] += s.rounds(2000)
	}
	want := map[string]int{"cdcd": 1500, "the broker": 400, "the leader of three brokers": 50, "MySQL": 25, "MariaDB": 25}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, s := range scenarios() {
		if s.least < 1 || s.rounds(0) != s.least || s.share <= 0 || (s.harm == nil) == (s.whole == nil) {
			t.Errorf("%s: least %d, share %v", s.name, s.least, s.share)
		}
	}
}

// The last line is JSON and sums up; what is wrong anywhere is in it.
func TestTallySumsUp(t *testing.T) {
	all := &tally{}
	all.add(1, &row{Scenario: "b", Faults: 3, Kills: 2, Messages: 10, Counts: Counts{Doubled: 1, Changed: 4}})
	all.add(0, &row{Scenario: "a", Faults: 1, Kills: 1, Messages: 5, Counts: Counts{Lost: 2, Reordered: 3}, Took: []time.Duration{time.Second, 2500 * time.Millisecond}})
	lines := strings.Split(strings.TrimSpace(all.print(true)), "\n")
	var got map[string]int
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"kills": 3, "messages": 15, "lost": 2, "doubled": 1, "reordered": 3, "changed": 4}, got); diff != "" {
		t.Error(diff)
	}
	if lines[2] != "| a | 1 | 1 | 5 | 2 | 0 | 3 | 0 | 2.50 s | 2.50 s |  |" || !strings.HasPrefix(lines[3], "| b |") || !strings.Contains(lines[5], "FAILED") {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}
}
