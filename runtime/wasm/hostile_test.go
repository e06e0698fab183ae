package wasm

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// refusedFor checks a fault's code, that it has a hint, and what it says.
func refusedFor(t *testing.T, err error, code, says string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %s", code)
	}
	f := fault.Of(err)
	if f.Code != code || f.Hint == "" && code != "unexpected" || !strings.Contains(err.Error(), says) {
		t.Fatalf("got %q (hint %q); want code %s and %q", err, f.Hint, code, says)
	}
}

func TestLoadRefuses(t *testing.T) {
	good := forged{buf: 65536}
	component := append([]byte("\x00asm"), 0x0d, 0, 1, 0)
	bomb := func(id byte, count uint64) []byte {
		return section([]byte("\x00asm\x01\x00\x00\x00"), id, leb(nil, count))
	}
	tests := []struct {
		name       string
		module     []byte
		code, says string
	}{
		{"text", []byte("#!/bin/sh\n"), "module_not_wasm", "not a WebAssembly module"},
		{"empty", nil, "module_not_wasm", "not a WebAssembly module"},
		{"component", component, "module_not_wasm", "version"},
		{"too large", make([]byte, goPolicy.moduleBytes+1), "module_too_large", "limit"},
		{"cut short", good.bytes()[:60], "module_refused", ""},
		{"import bomb", bomb(2, 1<<32-1), "module_refused", "imports"},
		{"export bomb", bomb(7, 20_000_000), "module_refused", "exports"},
		{"type bomb", bomb(1, 1<<31), "module_refused", "types"},
		{"locals bomb", section([]byte("\x00asm\x01\x00\x00\x00"), 10, append([]byte{1, 7, 1}, append(leb(nil, 200_000_000), 0x7f, 0x0b)...)), "module_refused", "locals"},
		{"table bomb", section([]byte("\x00asm\x01\x00\x00\x00"), 4, append([]byte{1, 0x70, 0}, leb(nil, 100_000_000)...)), "module_refused", "table"},
		{"two memories", section([]byte("\x00asm\x01\x00\x00\x00"), 5, []byte{2, 0, 1, 0, 1}), "module_unsupported", "memories"},
		{"shared memory", section([]byte("\x00asm\x01\x00\x00\x00"), 5, []byte{1, 3, 1, 1}), "module_unsupported", "threads"},
		{"sections twice", append(section([]byte("\x00asm\x01\x00\x00\x00"), 5, []byte{0}), 5, 1, 0), "module_refused", "order"},
		{"no manifest", good.bytes(), "module_lacks_manifest", sdk.ManifestSection},
		{"bad manifest", section(good.bytes(), 0, append(text(nil, sdk.ManifestSection), "{}"...)), "module_manifest", "name"},
		{"no abi", stamp(t, forged{omit: sdk.ExportABI}.bytes(), "x"), "module_lacks_abi", sdk.ExportABI},
		{"no transform", stamp(t, forged{omit: sdk.ExportTransform}.bytes(), "x"), "module_lacks_abi", sdk.ExportTransform},
		{"no memory", stamp(t, forged{omit: "memory"}.bytes(), "x"), "module_lacks_abi", "memory"},
		{"wrong type", stamp(t, forged{wrongType: true}.bytes(), "x"), "module_lacks_abi", "another type"},
		{"unknown import", stamp(t, forged{imports: [][2]string{{"env", "open"}}}.bytes(), "x"), "module_import_denied", "env.open"},
		{"unknown wasi", stamp(t, forged{imports: [][2]string{{wasiModule, "launch"}}}.bytes(), "x"), "module_import_denied", "launch"},
		{"capability not offered", stamp(t, forged{imports: [][2]string{{sdk.ModuleHTTP, "send"}}}.bytes(), "x"), "capability_unavailable", `"http"`},
		{"invalid body", stamp(t, forged{transform: []byte{0x0f, 0x99}}.bytes(), "x"), "module_invalid", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t)
			_, err := h.Load(t.Context(), tt.module)
			refusedFor(t, err, tt.code, tt.says)
			if s := h.Stats(); s.Modules != 0 {
				t.Errorf("%d modules left", s.Modules)
			}
		})
	}
}

func TestHostileResults(t *testing.T) {
	in := batchOf("x", "y")
	wrongSource := func() []byte {
		b := &sdk.Builder{}
		b.Reset()
		b.BeginTx(sdk.TxInfo{})
		b.CopyRow(in.Row(0))
		b.SetSource(1)
		return b.Seal(testSchemas).Bytes()
	}()
	verdicts := func(v ...byte) map[uint32][]byte { return map[uint32][]byte{2048: v} }
	with := func(m map[uint32][]byte, addr uint32, p []byte) map[uint32][]byte { m[addr] = p; return m }
	reason := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0), 1<<31)
	tests := []struct {
		name string
		f    forged
		says string
	}{
		{"buffer outside", forged{buf: 1 << 30}, "outside its memory"},
		{"buffer at 0", forged{buf: 0}, "0 or not a multiple"},
		{"buffer askew", forged{buf: 65537}, "multiple of 8"},
		{"block outside", forged{buf: 65536, result: sdk.Pack(1<<30, 32)}, "result block"},
		{"block short", forged{buf: 65536, result: sdk.Pack(1024, 8)}, "result block"},
		{"schema outside", forged{buf: 65536, schema: sdk.Pack(1<<30, 32)}, "schema"},
		{"schema garbage", forged{buf: 65536, schema: sdk.Pack(1024, 32)}, "schema"},
		{"no progress", answer(sdk.Result{}, nil), "did no row"},
		{"rows beyond", answer(sdk.Result{RowsDone: 3}, nil), "3 rows are done"},
		{"too few verdicts", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 1}, nil), "1 verdicts"},
		{"verdicts outside", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 1 << 30, VerdictsLen: 2}, nil), "outside its memory"},
		{"unknown verdict", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2}, verdicts(0, 9)), "verdict 9"},
		{"output outside", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2, OutputAddr: 1 << 30, OutputLen: 99}, verdicts(3, 0)), "output lies outside"},
		{"output garbage", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2, OutputAddr: 4096, OutputLen: 99}, verdicts(3, 0)), "not a valid batch"},
		{"output of a passed row", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2, OutputAddr: 4096, OutputLen: uint32(len(wrongSource))},
			with(verdicts(3, 0), 4096, wrongSource)), "as its source"},
		{"reasons outside", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2, ReasonsAddr: 1 << 30, ReasonsLen: 9}, verdicts(4, 0)), "reasons lie outside"},
		{"reason too long", answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2, ReasonsAddr: 4096, ReasonsLen: 8},
			with(verdicts(4, 0), 4096, reason)), "runs past the end"},
		{"edited size beyond", forged{buf: 65536, data: answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2}, verdicts(2, 2)).data,
			transform: append([]byte{0x41, 0x00, 0x41}, append(sleb(nil, -1), append(append([]byte{0x36, 2}, leb(nil, 65536+12)...), i64Const(sdk.Pack(1024, 32))...)...)...)}, "size"},
		{"edited slot outside", forged{buf: 65536, data: answer(sdk.Result{RowsDone: 2, VerdictsAddr: 2048, VerdictsLen: 2}, verdicts(2, 2)).data,
			transform: fillBatch(in, 0xff)}, "not a valid batch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i, err := load(t, newHost(t), stamp(t, tt.f.bytes(), "hostile")).Instantiate(t.Context(), InstanceConfig{})
			if err == nil {
				before := string(in.Bytes())
				err = i.Transform(t.Context(), in, &Result{})
				if string(in.Bytes()) != before {
					t.Error("the input changed")
				}
				if i.Err() == nil {
					t.Error("the instance is still in use")
				}
			}
			refusedFor(t, err, codeABI, tt.says)
		})
	}
}

// fillBatch overwrites the whole of the batch behind its header with b, and
// then returns the result block.
func fillBatch(in *sdk.Batch, b int32) []byte {
	p := sleb([]byte{0x41}, 65536+sdk.HeaderSize)
	p = sleb(append(p, 0x41), int64(b))
	p = sleb(append(p, 0x41), int64(len(in.Bytes())-sdk.HeaderSize))
	p = append(p, 0xfc, 11, 0)
	return append(p, i64Const(sdk.Pack(1024, 32))...)
}

// A guest that scribbles over its whole copy of the batch changes nothing but
// the images of the rows that it says it edited.
func TestScribbleChangesNothingElse(t *testing.T) {
	in := batchOf("x", "y", "z")
	f := forged{buf: 65536, transform: fillBatch(in, 0),
		data: answer(sdk.Result{RowsDone: 3, VerdictsAddr: 2048, VerdictsLen: 3}, map[uint32][]byte{2048: {0, 2, 0}}).data}
	i, err := load(t, newHost(t), stamp(t, f.bytes(), "scribble")).Instantiate(t.Context(), InstanceConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var res Result
	if err := i.Transform(t.Context(), in, &res); err != nil {
		t.Fatal(err)
	}
	if got := textsOf(res.Out); got[0] != "0 x" || got[1] != "1 " || got[2] != "2 z" {
		t.Errorf("got %q", got)
	}
	if tx := res.Out.Tx(0); string(tx.ID()) != "tx-1" || !tx.Whole() || tx.Rows() != 3 {
		t.Error("the transaction changed")
	}
}

func TestCrashes(t *testing.T) {
	tests := []struct{ command, code, says string }{
		{"panic:why", codeTrap, "why"},
		{"exit:3", codeTrap, "ended itself with code 3"},
		{"loop", codeTimeout, "did not return within 300ms"},
		{"hoard", codeTrap, "out of memory"},
		{"stop:enough", "step_failed", "enough"},
		{"verdict:9", "step_failed", "verdict 9"},
		{"grow:17000000", codeOutput, "room"},
	}
	m := load(t, newHost(t), goGuest(t, "lab"))
	for _, tt := range tests {
		t.Run(tt.command, func(t *testing.T) {
			limit := time.Minute
			if tt.code == codeTimeout {
				limit = 300 * time.Millisecond
			}
			i, err := m.Instantiate(t.Context(), InstanceConfig{Time: limit, MemoryBytesMax: 256 << 20})
			if err != nil {
				t.Fatal(err)
			}
			err = i.Transform(t.Context(), batchOf("x", tt.command), &Result{})
			refusedFor(t, err, tt.code, tt.says)
			r, err := i.Close(t.Context())
			if err != nil || !r.Clean() || r.MemoryBytesUnmapped == 0 {
				t.Errorf("receipt %+v, %v", r, err)
			}
		})
	}
}
