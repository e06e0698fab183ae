package clock

//go:wasmimport cdcd:clock/1 wall
func wall() int64

//go:wasmimport cdcd:clock/1 monotonic
func monotonic() int64
