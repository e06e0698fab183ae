package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Class says who can do something about a fault.
type Class uint8

// The classes, in the order of their exit codes where they end the process.
const (
	Fatal       Class = iota // a runtime fault that a person must look at; exit code 1
	Config                   // the configuration is wrong; exit code 2
	Environment              // the machine, a server or a permission is not as needed; exit code 3
	Retryable                // may pass by itself: the pipeline tries again; exit code 1 when it gives up
	Poison                   // this row can't be processed, others can: on_error decides; exit code 1
)

var classNames = [...]string{"fatal", "config", "environment", "retryable", "poison"}

// String returns the class's name.
func (c Class) String() string { return classNames[c] }

// Fault is an error with a code, a place and a way out.
type Fault struct {
	Code  string // stable, snake_case, unique in the product: "binlog_purged"
	Class Class
	Path  string // the place: a file:line:column, a pipeline/step, a server, a position
	Err   error  // what happened
	Hint  string // the way out, as an instruction
}

// New returns a Fault. The message is formatted as by fmt.Errorf, %w included.
func New(class Class, code, path, hint, format string, args ...any) *Fault {
	return &Fault{Code: code, Class: class, Path: path, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// Error prints "path: what happened [code]"; the hint is printed apart.
func (f *Fault) Error() string {
	var b strings.Builder
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	if f.Err != nil {
		b.WriteString(f.Err.Error())
	}
	return b.String() + " [" + f.Code + "]"
}

// Unwrap returns what happened.
func (f *Fault) Unwrap() error { return f.Err }

// Is makes errors.Is(err, &Fault{Code: c}) compare codes.
func (f *Fault) Is(target error) bool {
	t, ok := target.(*Fault)
	return ok && t.Code == f.Code
}

// Of returns the outermost Fault in err's chain, or one of class Fatal and
// code "unexpected" that wraps err.
func Of(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return &Fault{Code: "unexpected", Class: Fatal, Err: err}
}

// HasCode reports whether a Fault with the code is in err's chain.
func HasCode(err error, code string) bool { return errors.Is(err, &Fault{Code: code}) }

// ExitCode returns the process exit code for an error: 0 ok, 1 runtime,
// 2 config, 3 environment.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	switch Of(err).Class {
	case Config:
		return 2
	case Environment:
		return 3
	}
	return 1
}
