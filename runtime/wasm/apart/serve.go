package apart

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// Serve is the child's side: it confines this process for ever, says what of
// that was refused, and lets work read the input and write the answer. args is
// what follows the verb. It returns the exit code.
func Serve(args []string, work func(in io.Reader, out io.Writer) error) int {
	if err := serve(args, work); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(args []string, work func(in io.Reader, out io.Writer) error) error {
	var o order
	if len(args) != 1 {
		return fmt.Errorf("cdcd starts this by itself, with one argument")
	}
	if err := json.Unmarshal([]byte(args[0]), &o); err != nil {
		return err
	}
	debug.SetTraceback("none")                            // what it died of is enough
	debug.SetMemoryLimit(o.MemoryBytes - o.MemoryBytes/4) // rather collect than die
	refusals := confine(o)
	report, err := json.Marshal(refusals)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	_, _ = out.Write(append(report, '\n'))
	if err := out.Flush(); err != nil {
		return err
	}
	if err := work(os.Stdin, out); err != nil {
		return err
	}
	return out.Flush()
}

// attempts collects refusals.
type attempts []Refusal

func (a *attempts) try(what string, err error) {
	if err != nil {
		*a = append(*a, Refusal{what, err.Error()})
	}
}
