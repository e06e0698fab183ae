package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cdcd-io/cdcd/sdk"
	"github.com/cdcd-io/cdcd/sdk/golden"
	"github.com/cdcd-io/cdcd/sdk/manifest"
)

// goEvery says that one digest in so many is a Go guest: 200 of 100,000.
const goEvery = 500

// guests are the modules that digests are made of.
type guests struct {
	small   []golden.Guest
	goish   []byte // sdk/guest/upper
	goEvery int
}

// newGuests builds the Go guest in a folder.
func newGuests(dir string) (*guests, error) {
	out := filepath.Join(dir, "upper.wasm")
	const source = "github.com/cdcd-io/cdcd/sdk/guest/upper"
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-buildmode=c-shared", "-o", out, source)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build of %s: %w: %s", source, err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	module, err = manifest.Append(module, []byte(`{"name":"upper","version":"1.0.0","abi":1,"kind":"transform"}`))
	return &guests{golden.Guests(), module, goEvery}, err
}

// warmUp is how many cycles come before the first look: those of one Go guest.
func (g *guests) warmUp() int { return 3 * g.goEvery }

// isGo reports whether the module with the number n is a Go guest.
func (g *guests) isGo(n int) bool { return n%g.goEvery == g.goEvery/2 }

// module returns the module with the number n, which has a digest of its own.
func (g *guests) module(n int) ([]byte, error) {
	if g.isGo(n) {
		return distinct(g.goish, n)
	}
	return distinct(g.small[n%len(g.small)].Module, n)
}

const (
	dataSection      = 11
	dataCountSection = 12
)

// distinct returns the module with another data segment, a passive one that
// nothing reads and that holds n: other bytes, other code to whoever keeps it by
// its digest, and the same behaviour.
func distinct(module []byte, n int) ([]byte, error) {
	out := append(make([]byte, 0, len(module)+32), module[:8]...)
	found := false
	for at := 8; at < len(module); {
		id := module[at]
		size, k := binary.Uvarint(module[at+1:])
		from := at + 1 + k
		body := module[from : from+int(size)]
		at = from + int(size)
		switch id {
		case dataSection:
			count, k := binary.Uvarint(body)
			body = append(binary.AppendUvarint(nil, count+1), body[k:]...)
			body = append(body, 1, 8) // passive, of 8 bytes
			body = binary.LittleEndian.AppendUint64(body, uint64(n))
			found = true
		case dataCountSection:
			count, _ := binary.Uvarint(body)
			body = binary.AppendUvarint(nil, count+1)
		}
		out = append(binary.AppendUvarint(append(out, id), uint64(len(body))), body...)
	}
	if !found {
		return nil, fmt.Errorf("the module has no data")
	}
	return out, nil
}

// names is the table that the guests are given rows of.
func names() *sdk.Schema {
	return &sdk.Schema{ID: 1, DB: "shop", Table: "users", Key: []int{0}, Columns: []sdk.Column{
		{Name: "id", Type: sdk.TypeInt}, {Name: "name", Type: sdk.TypeString}, {Name: "note", Type: sdk.TypeString, Nullable: true}}}
}

// configJSON is what the guests are configured with.
const configJSON = `{"column": "name"}`

// batchOf makes a batch of so many rows, each with a lower-case name.
func batchOf(s *sdk.Schema, rows int) *sdk.Batch {
	b := &sdk.Builder{}
	b.Reset()
	b.BeginTx(sdk.TxInfo{ID: []byte("tx"), File: []byte("binlog.000001"), PosStart: 4, Time: 1_700_000_000_000_000})
	for i := range rows {
		b.BeginRow(s, sdk.OpInsert, sdk.RowAfter, uint64(i))
		b.After().SetSlot(0, uint64(i))
		b.SetBytes(b.After(), 1, fmt.Appendf(nil, "ada lovelace %d", i))
		b.After().SetNull(2)
		b.EndRow()
	}
	b.EndTx(100, 0)
	return b.Seal([]*sdk.Schema{nil, s})
}
