//go:build !linux

package codecache

import "os"

func anonymous(dir string) (*os.File, error) { return os.CreateTemp(dir, "copy-") }

func expose(f *os.File, path string) error { return os.Symlink(f.Name(), path) }
