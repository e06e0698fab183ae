package skip

import (
	"fmt"
	"os"
	"testing"
)

// For skips the test for want of what the words name, with the way to get it.
// With CI=true the test fails instead: there everything must be.
func For(t testing.TB, format string, args ...any) {
	t.Helper()
	why := "*** SKIPPED for want of " + fmt.Sprintf(format, args...)
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
