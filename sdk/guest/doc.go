// Package guest is what a connector written in Go links. It speaks cdcd-abi-1
// with the host, so that a connector is one type with three methods and one
// registration:
//
//	package main
//
//	import (
//		"github.com/cdcd-io/cdcd/sdk"
//		"github.com/cdcd-io/cdcd/sdk/guest"
//	)
//
//	type upper struct{ column []int }
//
//	func (u *upper) Init(config []byte) error { return nil }
//	func (u *upper) Schema(in *sdk.Schema) (*sdk.Schema, error) { return nil, nil }
//	func (u *upper) Row(r sdk.Row, out *guest.Output) (sdk.Verdict, error) {
//		return sdk.VerdictPass, nil
//	}
//
//	var _ = guest.Register(&upper{})
//
//	func main() {}
//
// It is built with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared, and
// stamped with its manifest by sdk/manifest/stamp. A module built that way is a
// reactor: the host calls _initialize, which runs package initialisers, and main
// never runs. A package-level variable is therefore the one place from which a
// connector can register itself.
//
// The package builds natively too: New makes an instance that tests drive
// without a host. What a connector keeps in its fields lasts as long as its
// instance and no longer; a new instance may take over at any batch. What must
// last is kept with sdk/guest/kv. That and the other capabilities (log, metrics,
// clock, random, secret) are packages of their own, because importing one is asking
// for it.
//
// Neighbours: sdk (the batch and the ABI's constants), runtime/wasm (the host),
// sdk/sdktest (golden cases, natively and in the host).
package guest
