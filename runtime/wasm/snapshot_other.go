//go:build !linux

package wasm

import "errors"

// imageFile exists on Linux only: elsewhere all instances start plainly.
type imageFile struct{ size int64 }

func newImageFile([]byte) (*imageFile, error) { return nil, errors.ErrUnsupported }
func (f *imageFile) mapOver([]byte) error     { return errors.ErrUnsupported }
func (f *imageFile) close() error             { return nil }
