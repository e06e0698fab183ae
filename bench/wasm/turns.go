package main

import "time"

// contestant is one way of doing something.
type contestant struct {
	name string
	once func() error
	best time.Duration // of one
}

const (
	roundTime  = 2 * time.Millisecond // short: most go by without being interrupted
	roundsMin  = 5
	turnsTime  = 1500 * time.Millisecond // for each contestant
	roundsMost = 2000
)

// turns has the contestants take turns, and notes the best round of each.
func turns(list ...*contestant) error {
	for _, c := range list {
		c.best = time.Hour
	}
	end := time.Now().Add(time.Duration(len(list)) * turnsTime)
	for round := 0; round < roundsMin || time.Now().Before(end) && round < roundsMost; round++ {
		for _, c := range list {
			n, begin := 0, time.Now()
			for n == 0 || time.Since(begin) < roundTime {
				for range 1 + n/8 { // time is not looked at each time
					if err := c.once(); err != nil {
						return err
					}
					n++
				}
			}
			c.best = min(c.best, time.Since(begin)/time.Duration(n))
		}
	}
	return nil
}

// ns is the best round in nanoseconds, by so many.
func (c *contestant) ns(by int) float64 { return float64(c.best.Nanoseconds()) / float64(by) }
