package wasm

// span is a part of the process's memory.
type span struct{ from, to uintptr }

func (s span) size() int64 { return int64(s.to - s.from) }

func (s span) overlaps(o span) bool { return s.from < o.to && o.from < s.to }

func sizeOf(list []span) (n int64) {
	for _, s := range list {
		n += s.size()
	}
	return n
}
