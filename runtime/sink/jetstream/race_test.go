//go:build race

package jetstream_test

// raceDetector reports whether the tests are slowed down by it.
func raceDetector() bool { return true }
