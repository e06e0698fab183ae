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

// address returns where a buffer lies in the module's memory. Natively it means
// nothing.
func address(p []byte) uint32 {
	if len(p) == 0 {
		return 0
	}
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
}
