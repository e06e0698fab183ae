//go:build !unix

package natsd

import "math"

// dirLock does nothing where there is no flock; state's own lock remains.
type dirLock struct{}

func lockDir(string) (*dirLock, error) { return &dirLock{}, nil }

func (l *dirLock) release() {}

// diskSpace knows of no limit where there is no statfs.
func diskSpace(string) (free, size int64, err error) {
	return math.MaxInt64 / 8, math.MaxInt64 / 8, nil
}
