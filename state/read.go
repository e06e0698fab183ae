package state

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

func (s *Store) get(key []byte) ([]byte, bool, error) {
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.leave()
	return s.read(s.db, key)
}

// view calls f with the store as it is now, which stays so during the call.
func (s *Store) view(f func(pebble.Reader) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	now := s.db.NewSnapshot()
	return errors.Join(f(now), now.Close())
}

// read is get for who has entered, of a view or a batch too.
func (s *Store) read(r pebble.Reader, key []byte) ([]byte, bool, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.readFailed(err)
	}
	defer closer.Close()
	return append([]byte(nil), v...), true, nil
}

// each calls f for every key with the prefix, in order, until f returns an error.
func (s *Store) each(prefix []byte, f func(key, value []byte) error) error {
	return s.within(prefix, prefixEnd(prefix), f)
}

// within does the same for the keys from lower to before upper.
func (s *Store) within(lower, upper []byte, f func(key, value []byte) error) error {
	return s.iterate(lower, upper, (*pebble.Iterator).First, (*pebble.Iterator).Next, f)
}

// back does the same for the keys with the prefix, in reverse order.
func (s *Store) back(prefix []byte, f func(key, value []byte) error) error {
	return s.iterate(prefix, prefixEnd(prefix), (*pebble.Iterator).Last, (*pebble.Iterator).Prev, f)
}

func (s *Store) iterate(lower, upper []byte, first, next func(*pebble.Iterator) bool, f func(key, value []byte) error) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.readFailed(err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = s.readFailed(cerr)
		}
	}()
	for ok := first(it); ok; ok = next(it) {
		v, err := it.ValueAndErr()
		if err != nil {
			return s.readFailed(err)
		}
		if err := f(it.Key(), v); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return s.readFailed(err)
	}
	return nil
}

func (s *Store) readFailed(err error) error {
	f := s.corrupt(err)
	s.latch(f)
	return f
}
