package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
)

func TestFaultInChain(t *testing.T) {
	f := fault.New(fault.Environment, "binlog_purged", "127.0.0.1:3306", "take a new snapshot", "reading stopped: %w", io.ErrUnexpectedEOF)
	err := fmt.Errorf("pipeline shop: %w", f)
	if got, want := f.Error(), "127.0.0.1:3306: reading stopped: unexpected EOF [binlog_purged]"; got != want {
		t.Errorf("prints %q, want %q", got, want)
	}
	if fault.Of(err) != f || !fault.HasCode(err, "binlog_purged") || fault.HasCode(err, "other") {
		t.Error("the fault is not found in the chain")
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is not found in the chain")
	}
}

func TestExitCode(t *testing.T) {
	at := func(c fault.Class) error { return fault.New(c, "c", "", "", "x") }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0}, {errors.New("plain"), 1}, {at(fault.Fatal), 1}, {at(fault.Config), 2},
		{at(fault.Environment), 3}, {at(fault.Retryable), 1}, {at(fault.Poison), 1},
	} {
		if got := fault.ExitCode(c.err); got != c.want {
			t.Errorf("%v exits with %d, want %d", c.err, got, c.want)
		}
	}
	if fault.Of(errors.New("plain")).Code != "unexpected" {
		t.Error("a plain error has no code")
	}
}
