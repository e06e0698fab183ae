package log

// Level is how grave a line is, with the numbers of log/slog.
type Level int32

// The levels.
const (
	Debug Level = -4
	Info  Level = 0
	Warn  Level = 4
	Error Level = 8
)

// Print writes one line. The host cuts it at 1 KiB, and passes on at most 100
// lines a second from one instance.
func Print(level Level, message string) { write(level, message) }
