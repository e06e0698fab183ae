package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/golden"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// configJSON is what the guests are configured with.
const configJSON = `{"column":"name"}`

// rowsPerBatch is what a source puts into a batch of rows of this size.
const rowsPerBatch = 256

// goGuest builds sdk/guest/upper in a folder.
func goGuest(dir string) (golden.Guest, error) {
	out := filepath.Join(dir, "upper.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out,
		"github.com/cdcd-io/cdcd/sdk/guest/upper")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return golden.Guest{}, fmt.Errorf("%w: %s", err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		return golden.Guest{}, err
	}
	module, err = manifest.Append(module, []byte(`{"name":"upper","version":"1.0.0","abi":1,"kind":"transform"}`))
	return golden.Guest{Language: "go", Module: module}, err
}

// batch is rows of eight columns, of which the guests change one.
func batch() *sdk.Batch {
	s := &sdk.Schema{ID: 1, DB: "shop", Table: "users", Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "name", Type: sdk.TypeString}, {Name: "email", Type: sdk.TypeString},
		{Name: "amount", Type: sdk.TypeFloat64}, {Name: "created", Type: sdk.TypeTimestamp}, {Name: "status", Type: sdk.TypeEnum},
		{Name: "flags", Type: sdk.TypeUint}, {Name: "note", Type: sdk.TypeString, Nullable: true}}}
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte("tx"), File: []byte("binlog.000001"), PosStart: 4, Time: 1_700_000_000_000_000})
	for row := range rowsPerBatch {
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(row))
		b.After().SetSlot(0, uint64(row))
		b.SetBytes(b.After(), 1, []byte("Ada Lovelace"))
		b.SetBytes(b.After(), 2, fmt.Appendf(nil, "ada.%d@example.org", row))
		b.After().SetSlot(3, 0)
		b.After().SetSlot(4, uint64(row))
		b.SetBytes(b.After(), 5, []byte("active"))
		b.After().SetSlot(6, 1)
		b.After().SetNull(7)
		b.EndRow()
	}
	b.EndTx(100, 0)
	return b.Seal([]*sdk.Schema{nil, s})
}
