package wasm

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/sdk"
)

// Large values never enter a guest's batch, and one with the capability reads
// them piece by piece: its memory stays small.
func TestLargeValuesAreRead(t *testing.T) {
	module := goGuest(t, "hasher", "value")
	s, err := NewStep(t.Context(), load(t, newHost(t), module), StepConfig{Instance: InstanceConfig{Pipeline: "shop", Step: "hasher",
		Capabilities: []string{"value"}, MemoryBytesMax: 16 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(t.Context()) })
	var rows, want []string
	for n, size := range []int{0, 5, sdk.LargeBytesMin - 1, sdk.LargeBytesMin, 1 << 20, 40 << 20} {
		row := strings.Repeat(string(rune('a'+n)), size)
		rows = append(rows, row)
		want = append(want, fmt.Sprintf("%d %x", size, sha256.Sum256([]byte(row))))
	}
	same(t, want, say(t, s, nil, rows...))
	same(t, want[:2], say(t, s, nil, rows[:2]...)) // a batch without any
}

func TestLargeValuesNeedTheGrant(t *testing.T) {
	_, err := NewStep(t.Context(), load(t, newHost(t), goGuest(t, "hasher", "value")), StepConfig{Instance: InstanceConfig{Pipeline: "shop", Step: "hasher"}})
	if !fault.HasCode(err, "capability_not_granted") {
		t.Error(err)
	}
}

// Whatever a guest asks for, it gets bytes of the batch in hand or a refusal.
func TestValueReadIsBounded(t *testing.T) {
	i := &Instance{}
	i.ctx = &callContext{inst: i}
	i.large = [][]byte{[]byte("0123456789")}
	mem := make([]byte, 64)
	ask := func(index, offset, addr, length uint64) int32 {
		stack := []uint64{index, offset, addr, length}
		valueRead(i, mem, stack)
		return int32(uint32(stack[0]))
	}
	if got := ask(0, 0, 0, 10); got != sdk.CapNoBatch {
		t.Errorf("outside a call: %d", got)
	}
	i.rowsEnd = 1
	for _, c := range []struct {
		index, offset, addr, length uint64
		want                        int32
	}{
		{0, 0, 0, 64, 10}, {0, 4, 0, 3, 3}, {0, 10, 0, 3, 0}, {0, 1<<32 - 1, 0, 3, 0}, {0, 0, 64, 0, 0},
		{1, 0, 0, 3, sdk.CapNotFound}, {1<<32 - 1, 0, 0, 3, sdk.CapNotFound},
		{0, 0, 60, 5, sdk.CapInvalid}, {0, 0, 1<<32 - 1, 1, sdk.CapInvalid}, {0, 0, 0, 1<<32 - 1, sdk.CapInvalid},
	} {
		if got := ask(c.index, c.offset, c.addr, c.length); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if string(mem[:3]) != "456" {
		t.Errorf("memory is %q", mem[:10])
	}
}
