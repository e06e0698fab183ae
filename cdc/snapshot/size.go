package snapshot

import "time"

const (
	// chunkTime is how long reading a chunk should take.
	chunkTime = 500 * time.Millisecond
	chunkRows = 1024 // of the first one
	rowsLeast = 16   // of a chunk that takes too long
	growMax   = 8    // by how much a chunk may have more rows than the one before
)

// sizer chooses how many rows a chunk has, so that reading it and handing it on
// takes about as long as it should.
type sizer struct{ rows int }

func newSizer() sizer { return sizer{rows: chunkRows} }

// next returns the limits of the next chunk, which are no more than max.
func (s *sizer) next(max Limits) Limits {
	max.Rows = min(max.Rows, s.rows)
	return max
}

// observe learns from a chunk of n rows that was limited to so many.
func (s *sizer) observe(n, limit int, took time.Duration) {
	switch {
	case took > 2*chunkTime:
		s.rows = max(s.rows/2, rowsLeast)
	case took < chunkTime && n >= limit:
		s.rows = max(s.rows, int(float64(n)*min(growMax, float64(chunkTime)/float64(took))))
	}
}

// less makes chunks smaller, after one that failed.
func (s *sizer) less() { s.rows = max(s.rows/2, rowsLeast) }
