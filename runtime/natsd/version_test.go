package natsd

import "testing"

func TestAtLeast(t *testing.T) {
	for version, want := range map[string]bool{
		"2.13.9": false, "2.14.0": true, "2.15.2": true, "3.0.0": true, "1.99.0": false, "2.9.1": false, "2.14.0-RC.1": true, "dev": true,
	} {
		if got := atLeast(version, 2, 14); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
}
