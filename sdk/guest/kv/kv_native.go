//go:build !wasip1

package kv

import (
	"bytes"
	"maps"
	"slices"

	"github.com/cdcd-io/cdcd/sdk/guest"
)

// values are what a test's connector keeps, and undone what takes back the
// writes of the row in hand.
var (
	values = map[string][]byte{}
	undone []change
)

type change struct {
	row   int
	key   string
	value []byte
	had   bool
}

var _ = func() bool {
	guest.Follow(func() { undone = undone[:0] }, func(row int) {
		for n := len(undone) - 1; n >= 0 && undone[n].row == row; n-- {
			if c := undone[n]; c.had {
				values[c.key] = c.value
			} else {
				delete(values, c.key)
			}
			undone = undone[:n]
		}
	})
	return true
}()

// Reset forgets all values. It exists outside WebAssembly only, for tests.
func Reset() {
	clear(values)
	undone = nil
}

func get(key []byte) ([]byte, bool, error) {
	if _, ok := guest.CurrentRow(); !ok {
		return nil, false, ErrNoBatch
	}
	v, ok := values[string(key)]
	return v, ok, nil
}

// remember keeps what the row in hand writes over.
func remember(key []byte) error {
	row, ok := guest.CurrentRow()
	if !ok {
		return ErrNoBatch
	}
	if n := len(undone); n > 0 && undone[n-1].row != row {
		undone = undone[:0]
	}
	v, had := values[string(key)]
	undone = append(undone, change{row, string(key), v, had})
	return nil
}

func put(key, value []byte) error {
	if err := remember(key); err != nil {
		return err
	}
	values[string(key)] = bytes.Clone(value)
	return nil
}

func remove(key []byte) error {
	if err := remember(key); err != nil {
		return err
	}
	delete(values, string(key))
	return nil
}

func scan(prefix, after []byte, f func(key, value []byte) bool) error {
	if _, ok := guest.CurrentRow(); !ok {
		return ErrNoBatch
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if k > string(after) && bytes.HasPrefix([]byte(k), prefix) && !f([]byte(k), values[k]) {
			return nil
		}
	}
	return nil
}
