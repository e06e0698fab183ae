package guest

import "unsafe"

// registered is the module's one instance. The ABI's exports are functions of
// the package, so that the state behind them has nowhere else to live.
var registered Instance

// Register makes c the connector of this module. It is called once, as a
// package-level variable of the connector's main package; see the package's
// documentation for why.
func Register(c Connector) bool {
	registered.connector = c
	if w, ok := c.(Warmer); ok {
		w.Warm()
	}
	return true
}

// working is the instance that transforms a batch, onBatch is told when it
// begins and onRefused of each row that it refuses: for the packages of
// capabilities.
var (
	working   *Instance
	onBatch   func()
	onRefused func(row int)
)

// CurrentRow returns the index of the row in hand; ok is false outside Row. It
// is for the packages of capabilities, which tell the host what a call is for.
func CurrentRow() (row int, ok bool) {
	if working == nil {
		return 0, false
	}
	return working.out.row, true
}

// Follow has began called before the first row that the host gives, and refused
// with each row that the connector refuses; either may be nil. It is for the
// packages of capabilities, one of them.
func Follow(began func(), refused func(row int)) { onBatch, onRefused = began, refused }

// address returns where a buffer lies in the module's memory. Natively it means
// nothing.
func address(p []byte) uint32 {
	if len(p) == 0 {
		return 0
	}
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
}
