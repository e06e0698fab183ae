// Package sdktest runs a connector's golden cases twice: natively, through
// sdk/guest alone, and as the WebAssembly module that users get, inside the real
// host. Both must give what the case says.
//
//	func TestCases(t *testing.T) {
//		sdktest.Run(t, func() guest.Connector { return &mask{} }, "testdata/*.json")
//	}
//
// A case is a JSON file: see Case.
//
// Neighbours: sdk/guest (the native side), runtime/wasm (the host),
// sdk/manifest (stamps the module that is built).
package sdktest
