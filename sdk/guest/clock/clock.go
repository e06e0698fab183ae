package clock

import "time"

// Wall returns the commit time of the batch in hand: that of its last
// transaction. It is the same whenever the batch is run.
func Wall() time.Time { return time.Unix(0, wall()).UTC() }

// Monotonic returns virtual time: it rises by a microsecond with each reading and
// by what was slept, and never falls. It measures nothing but that.
func Monotonic() time.Duration { return time.Duration(monotonic()) }
