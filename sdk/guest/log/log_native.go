//go:build !wasip1

package log

import "log/slog"

// write goes to the test's log: outside WebAssembly a connector runs in tests only.
func write(level Level, message string) {
	switch {
	case level >= Error:
		slog.Error(message)
	case level >= Warn:
		slog.Warn(message)
	case level >= Info:
		slog.Info(message)
	default:
		slog.Debug(message)
	}
}
