package random

import "encoding/binary"

// Fill fills p.
func Fill(p []byte) {
	if len(p) > 0 {
		fill(p)
	}
}

// Uint64 returns 64 random bits.
func Uint64() uint64 {
	var p [8]byte
	fill(p[:])
	return binary.LittleEndian.Uint64(p[:])
}
