//go:build !wasip1

package random

import "math/rand/v2"

var source = rand.NewChaCha8([32]byte{})

// Seed begins a batch anew. It exists outside WebAssembly only, for tests.
func Seed(seed [32]byte) { source.Seed(seed) }

func fill(p []byte) { _, _ = source.Read(p) } // it never fails
