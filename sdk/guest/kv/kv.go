package kv

import (
	"errors"

	"github.com/cdcd-io/cdcd/sdk"
)

// The errors of this package. They are of the row in hand: Row may return them
// to refuse it.
var (
	ErrKey     = errors.New("a key of kv must have 1 to 1,024 bytes")
	ErrValue   = errors.New("a value of kv may have 64 KiB at most")
	ErrNoBatch = errors.New("kv can be used in Row only")
)

// Get returns a value; ok is false without one. The slice is good until the next
// call of this package.
func Get(key []byte) (value []byte, ok bool, err error) {
	if err := check(key, nil); err != nil {
		return nil, false, err
	}
	return get(key)
}

// Put sets a value, which the next Get returns.
func Put(key, value []byte) error {
	if err := check(key, value); err != nil {
		return err
	}
	return put(key, value)
}

// Delete removes a value; one that is not there is no error.
func Delete(key []byte) error {
	if err := check(key, nil); err != nil {
		return err
	}
	return remove(key)
}

// Scan calls f for the keys that begin with prefix and sort behind after, in the
// order of their bytes, until f returns false. The slices are good during the
// call; f must not call this package.
func Scan(prefix, after []byte, f func(key, value []byte) bool) error {
	if len(prefix) > sdk.KVKeyBytesMax || len(after) > sdk.KVKeyBytesMax {
		return ErrKey
	}
	return scan(prefix, after, f)
}

func check(key, value []byte) error {
	switch {
	case len(key) == 0 || len(key) > sdk.KVKeyBytesMax:
		return ErrKey
	case len(value) > sdk.KVValueBytesMax:
		return ErrValue
	}
	return nil
}
