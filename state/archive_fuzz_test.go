package state

import (
	"bytes"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Whatever an archive holds, reading it ends, and an error is a fault.
func FuzzCheckArchive(f *testing.F) {
	s := openT(f, f.TempDir(), Options{})
	var b bytes.Buffer
	if err := s.Export(&b); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:700])
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := CheckArchive(bytes.NewReader(p)); err != nil && !fault.HasCode(err, CodeArchiveDamaged) {
			t.Fatal(err)
		}
	})
}
