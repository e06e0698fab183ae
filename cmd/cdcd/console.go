package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/config"
)

// console is where a verb prints: results to out, faults and logs to err.
type console struct {
	out, err io.Writer
	json     bool
	tty      bool       // out is a terminal
	size     func() int // the terminal's width as of now; nil without one
}

func newConsole(out, err *os.File) *console {
	c := &console{out: out, err: err}
	if term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" {
		c.tty = true
		c.size = func() int {
			w, _, _ := term.GetSize(int(out.Fd()))
			return w
		}
	}
	return c
}

// columnsDefault is the width where a terminal doesn't tell it.
const columnsDefault = 80

// width returns how many columns a line has.
func (c *console) width() int {
	if c.size != nil {
		if w := c.size(); w > 0 {
			return w
		}
	}
	return columnsDefault
}

// apart returns a console that prints to standard error when a pipeline has
// standard output for its messages.
func (c *console) apart(cfg *config.Config) *console {
	for _, p := range cfg.Pipelines {
		if p.Sink.Kind == "stdout" {
			apart := *c
			apart.out, apart.tty = c.err, false
			return &apart
		}
	}
	return c
}

// line prints one line for people; with --json nothing.
func (c *console) line(format string, args ...any) {
	if !c.json {
		fmt.Fprintf(c.out, format+"\n", args...)
	}
}

// object prints one JSON object on one line.
func (c *console) object(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = fmt.Appendf(nil, `{"error":{"code":"unexpected","message":%q}}`, err)
	}
	fmt.Fprintf(c.out, "%s\n", text)
}

// faultJSON is a fault for programs.
type faultJSON struct {
	Code    string `json:"code"`
	Class   string `json:"class"`
	Path    string `json:"path,omitempty"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func describe(f *fault.Fault) faultJSON {
	d := faultJSON{Code: f.Code, Class: f.Class.String(), Path: f.Path, Hint: f.Hint}
	if f.Err != nil {
		d.Message = f.Err.Error()
	}
	return d
}

// errShown is the outcome of a verb that has printed what went wrong itself.
type errShown struct{ code int }

// Error says no more: everything is printed.
func (e errShown) Error() string { return "printed above" }

// outcome prints what went wrong, if anything did, and returns the exit code.
func (c *console) outcome(err error) int {
	var shown errShown
	switch {
	case err == nil:
		return 0
	case errors.As(err, &shown):
		return shown.code
	}
	return c.fail(err)
}

// fail prints what went wrong, all of it, and returns the exit code.
func (c *console) fail(err error) int {
	faults := flatten(err)
	if c.json {
		list := make([]faultJSON, len(faults))
		for i, f := range faults {
			list[i] = describe(f)
		}
		c.object(struct {
			Error  faultJSON   `json:"error"`
			Errors []faultJSON `json:"errors"`
		}{list[0], list})
	} else {
		for _, f := range faults {
			fmt.Fprintf(c.err, "error: %v\n", f)
			if f.Hint != "" {
				fmt.Fprintf(c.err, "       %s\n", f.Hint)
			}
		}
		fmt.Fprintf(c.err, "\ncdcd explain %s says more.\n", faults[0].Code)
	}
	return fault.ExitCode(faults[0])
}

// flatten returns the faults of a joined error, in order; anything else is a
// fault of its own.
func flatten(err error) []*fault.Fault {
	var findings config.Findings
	if errors.As(err, &findings) {
		faults := make([]*fault.Fault, len(findings))
		for i := range findings {
			faults[i] = findings[i].Fault
		}
		return faults
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var faults []*fault.Fault
		for _, e := range joined.Unwrap() {
			faults = append(faults, flatten(e)...)
		}
		if len(faults) > 0 {
			return faults
		}
	}
	return []*fault.Fault{fault.Of(err)}
}
