//go:build !wasip1

package clock

var now, passed int64

// Set gives Wall a time, in nanoseconds since the Unix epoch. It exists outside
// WebAssembly only, for tests.
func Set(nanoseconds int64) { now = nanoseconds }

func wall() int64 { return now }

func monotonic() int64 {
	passed += 1000
	return passed
}
