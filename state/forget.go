package state

import "errors"

// Forget takes away, for good, what the connectors of a pipeline keep, and all
// that is known of how it came about: they go on with nothing kept, from where the
// sink stands. It is for a state that can't be brought up to the sink. Dead
// letters stay. It returns how many values there were.
func (p *Pipeline) Forget() (values int, err error) {
	c, _, err := p.Load()
	if err != nil {
		return 0, err
	}
	prefix := pipelineKey(p.name, kindValue)
	if err := p.s.each(prefix, func(_, _ []byte) error { values++; return nil }); err != nil {
		return 0, err
	}
	c.Restored, c.Forgot, c.Changes, c.At, c.Complete = false, true, 0, "", false
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.s.db.NewBatch()
	err = p.eachUndo(func(_ uint64, rec *record) error {
		bodies, err := rec.owned()
		return errors.Join(err, p.deleteBodies(b, bodies...))
	})
	if err != nil {
		return 0, errors.Join(err, b.Close())
	}
	for _, kind := range []byte{kindValue, kindUsed, kindUndo} {
		prefix := pipelineKey(p.name, kind)
		err = errors.Join(err, b.DeleteRange(prefix, prefixEnd(prefix), nil))
	}
	v, eerr := encodeJSON(&c)
	err = errors.Join(err, eerr, b.Set(pipelineKey(p.name, kindCheckpoint), v, nil),
		b.Set(trimmedKey(p.name), []byte{valueVersion}, nil)) // what was before can't be gone back to
	if err != nil {
		return 0, errors.Join(p.s.writeFailed(err), b.Close())
	}
	if err := p.s.commit(b); err != nil {
		return 0, err
	}
	p.changes, p.undo, p.open = 0, 0, false
	clear(p.used)
	return values, p.countChanges()
}
