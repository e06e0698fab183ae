package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cdcd-io/cdcd/runtime/wasm/apart"
)

// Children that are not as they should be. A panic is the module's doing, the
// rest is nobody's.
func TestBrokenCompiler(t *testing.T) {
	tests := []struct{ verb, code, says string }{
		{"compile-panic", "module_invalid", "panic: it is too strange"},
		{"compile-nonsense", "module_compiler", "invalid character"},
		{"compile-outside", "module_compiler", "a name of two parts"},
		{"compile-nothing", "module_compiler", "exit status 0"},
		{"compile-killed", "module_compile_limit", "memory"}, // as the kernel does it
		{"compile-fails", "module_compiler", "exit status 1"},
	}
	for _, tt := range tests {
		t.Run(tt.verb, func(t *testing.T) {
			h := apartHost(t, Options{CacheDir: t.TempDir()})
			var err error
			if h.compiler.runner, err = apart.Self(tt.verb); err != nil {
				t.Fatal(err)
			}
			_, err = h.Load(t.Context(), distinct(t, 1))
			refusedFor(t, err, tt.code, tt.says)
			if h.compiler.runner, err = apart.Self(CompileVerb); err != nil {
				t.Fatal(err)
			}
			use(t, h, distinct(t, 1)) // nothing was kept
		})
	}
	if code := ServeCompile(t.Context(), nil); code == 0 {
		t.Error("a child without orders works")
	}
}

// compileHangs is the verb of a compiler that never comes to an end.
const compileHangs = "compile-hangs"

func hang(t testing.TB, h *Host) {
	var err error
	if h.compiler.runner, err = apart.Self(compileHangs); err != nil {
		t.Fatal(err)
	}
}

// beChild is the test binary as a compiler, a good one or not, or as a daemon.
func beChild(verb string, args []string) {
	broken := map[string]func(out io.Writer) error{
		"compile-panic":    func(io.Writer) error { panic("it is too strange") },
		"compile-nonsense": func(out io.Writer) error { _, err := io.WriteString(out, "hello\n"); return err },
		"compile-outside": func(out io.Writer) error {
			_, err := io.WriteString(out, `{"name":"../../x"}`+"\ncode")
			return err
		},
		"compile-nothing": func(io.Writer) error { return nil },
		"compile-killed":  func(io.Writer) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) },
		"compile-fails":   func(io.Writer) error { return errors.New("no") },
		compileHangs: func(io.Writer) error {
			err := os.WriteFile("probe", nil, 0o600)
			time.Sleep(time.Hour)
			return err
		},
	}
	switch f := broken[verb]; {
	case verb == CompileVerb:
		os.Exit(ServeCompile(context.Background(), args))
	case f != nil:
		os.Exit(apart.Serve(args, func(_ io.Reader, out io.Writer) error { return f(out) }))
	case verb == "be-a-daemon":
		h, err := NewHost(Options{Compile: CompileApart, CacheDir: args[0]})
		if err == nil {
			h.compiler.runner, _ = apart.Self(compileHangs)
			module, _ := os.ReadFile(args[1])
			_, err = h.Load(context.Background(), module)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A daemon that is killed while it compiles leaves no process, and what it
// leaves in the cache goes at the next start.
func TestKilledDaemon(t *testing.T) {
	dir := t.TempDir()
	module := filepath.Join(t.TempDir(), "x.wasm")
	if err := os.WriteFile(module, distinct(t, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(os.Args[0], "be-a-daemon", dir, module)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	var child string
	await(t, "a compiler at work", func() bool {
		list := childrenOf(fmt.Sprint(daemon.Process.Pid))
		work, _ := filepath.Glob(filepath.Join(dir, "run-*", "cdcd-work-*", "probe"))
		if len(list) == 1 && len(work) == 1 {
			child = list[0]
		}
		return child != ""
	})
	_ = daemon.Process.Kill()
	_ = daemon.Wait()
	await(t, "the compiler's end", func() bool {
		p, err := os.ReadFile("/proc/" + child + "/stat")
		return err != nil || strings.Contains(string(p), ") Z ")
	})
	h := apartHost(t, Options{CacheDir: dir})
	if list, _ := filepath.Glob(filepath.Join(dir, "run-*")); len(list) != 1 {
		t.Errorf("%v", list)
	}
	use(t, h, distinct(t, 1))
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}
