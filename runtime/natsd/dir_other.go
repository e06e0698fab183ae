//go:build !unix

package natsd

import "math"

// dirLock does nothing where there is no flock; state's own lock remains.
type dirLock struct{}

func lockDir(string) (*dirLock, error) { return &dirLock{}, nil }

func (l *dirLock) release() {}

// diskFree knows of no limit where there is no statfs.
func diskFree(string) (int64, error) { return math.MaxInt64 / 8, nil }
