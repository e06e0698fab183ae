package wasm

import "time"

// allowance is what a batch may use up in all its calls together, or the start
// of an instance: a guest that gets by with little in each call could make any
// number of them.
type allowance struct {
	limit   time.Duration
	until   time.Time
	limited bool
	fuelEnd int64 // of Instance.fuel
}

// allow begins an allowance: of time, and of fuel unless it is 0.
func (i *Instance) allow(limit time.Duration, fuel int64) {
	i.allowed = allowance{limit, time.Now().Add(limit), fuel > 0, i.fuel + fuel}
}

// rest returns what is left for a call: no time at all ends it when it is first
// looked at, and no fuel as well.
func (i *Instance) rest() (limit time.Duration, fuel int64) {
	if i.allowed.limited {
		fuel = max(i.allowed.fuelEnd-i.fuel, 1)
	}
	return time.Until(i.allowed.until), fuel
}
