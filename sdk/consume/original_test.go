package consume

import "testing"

// A replayed row says where it comes from; what is no place is an error, and not
// the place of another row.
func TestOriginal(t *testing.T) {
	got, err := parseOriginal("3e11fa47-71ca-11e1-9e33-c80aa9429562:23#7", "4")
	if err != nil || *got != (Original{Tx: "3e11fa47-71ca-11e1-9e33-c80aa9429562:23", Row: 7, Replay: 4}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseOriginal("a#b#12", "1"); err != nil || got.Tx != "a#b" || got.Row != 12 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := parseOriginal("", "4"); got != nil || err != nil { // any row behind a replay
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range [][2]string{{"tx", "1"}, {"#1", "1"}, {"tx#", "1"}, {"tx#x", "1"}, {"tx#-1", "1"}, {"tx#1", ""}, {"tx#1", "x"}, {"tx#99999999999999999999", "1"}} {
		if got, err := parseOriginal(bad[0], bad[1]); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}
