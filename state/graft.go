package state

import (
	"errors"
	"slices"
)

// graftStepSize is the size from which on no more is put into a write of Graft.
const graftStepSize = 4 << 20

// Graft puts all that the store in from has of pipelines into the store in dir, in
// place of what that has of them, and returns which those were: of the names, those
// that from has a checkpoint of. Both are restored copies that MarkRestored has
// marked; until EndRestore, Open refuses dir, so a crash in between leaves no half of
// a pipeline that anybody would go on with.
func Graft(dir, from string, names []string) (taken []string, err error) {
	src, err := open(from, Options{}, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	has, err := src.withCheckpoint()
	if err != nil {
		return nil, err
	}
	taken = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(has, name) })
	if len(taken) == 0 {
		return nil, nil
	}
	to, err := open(dir, Options{}, true)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for _, name := range taken {
		of := appendText([]byte{1}, name)
		for _, prefix := range [][]byte{of, slices.Concat([]byte(apart), of)} {
			if err := graft(to, src, prefix); err != nil {
				return nil, err
			}
		}
	}
	return taken, nil
}

// graft takes the keys with a prefix from one store to another.
func graft(to, src *Store, prefix []byte) error {
	b := to.db.NewBatch()
	if err := b.DeleteRange(prefix, prefixEnd(prefix), nil); err != nil {
		return to.writeFailed(err)
	}
	err := src.each(prefix, func(key, value []byte) error {
		if err := b.Set(key, value, nil); err != nil {
			return to.writeFailed(err)
		}
		if b.Len() < graftStepSize {
			return nil
		}
		err := to.commit(b)
		b = to.db.NewBatch()
		return err
	})
	if err != nil {
		return errors.Join(err, b.Close())
	}
	return to.commit(b)
}
