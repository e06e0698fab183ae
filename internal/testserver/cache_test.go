package testserver

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	built := 0
	get := func(name string) string {
		path, err := cached(name, func(partial string) error {
			built++
			return os.Mkdir(partial, 0o755)
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	old := time.Now().Add(-cacheAgeMax - time.Hour)
	for _, path := range []string{get("used"), get("forgotten")} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	get("used")
	dir := filepath.Dir(get("new"))
	have, err := filepath.Glob(filepath.Join(dir, "*[a-z]"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range have {
		have[i] = filepath.Base(have[i])
	}
	want := []string{"forgotten.lock", "new", "new.lock", "used", "used.lock"}
	if diff := cmp.Diff(want, have); diff != "" || built != 3 {
		t.Errorf("%d built; %s", built, diff)
	}
}
