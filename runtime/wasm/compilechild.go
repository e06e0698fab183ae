package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cdcd-io/cdcd/runtime/wasm/apart"
)

// ServeCompile is what a program does whose first argument is CompileVerb: it
// compiles one module, with limits, and returns the exit code. args are the
// arguments behind the verb.
func ServeCompile(ctx context.Context, args []string) int {
	return apart.Serve(args, func(in io.Reader, out io.Writer) error {
		module, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		return compileTo(ctx, module, out)
	})
}

// compileTo compiles a metered module in the working directory and writes the
// code. Its own error is one that ends the child: a limit, mostly.
func compileTo(ctx context.Context, module []byte, out io.Writer) error {
	var head compiledHead
	name, err := compileIn(ctx, module)
	switch {
	case err == nil:
		head.Name = filepath.ToSlash(name)
	case isLimit(err):
		return err
	case isWriting(err):
		head.Failed = err.Error()
	default:
		head.Invalid = err.Error()
	}
	line, err := json.Marshal(head)
	if err != nil {
		return err
	}
	if _, err := out.Write(append(line, '\n')); err != nil || name == "" {
		return err
	}
	code, err := os.Open(name)
	if err != nil {
		return err
	}
	defer code.Close()
	_, err = io.Copy(out, code)
	return err
}

// compileIn compiles in the working directory and returns the code's file.
func compileIn(ctx context.Context, module []byte) (name string, err error) {
	// A place that can't be written to is better found before the work than after.
	if err := os.WriteFile("probe", make([]byte, 4<<10), 0o600); err != nil {
		return "", err
	}
	p, err := compile(ctx, module, ".")
	if err != nil {
		return "", err
	}
	if err := p.close(ctx); err != nil {
		return "", err
	}
	return codeFile(".")
}

// isLimit finds the kernel's refusals, also in the text of a panic.
func isLimit(err error) bool {
	return errors.Is(err, syscall.EFBIG) || strings.Contains(err.Error(), syscall.ENOMEM.Error())
}

// isWriting finds errors of the disk.
func isWriting(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}
