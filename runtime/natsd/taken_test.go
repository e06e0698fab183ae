package natsd_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/runtime/natsd"
)

// An address that nobody has chosen gives way to another, a chosen one is a
// fault that names it, who is there and the way out.
func TestTakenAddress(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() }) // after the parallel tests, which a defer would not be
	own := start(t, natsd.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	for who, addr := range map[string]string{
		"a program that is no NATS server":       mute.Addr().String(),
		"another cdcd's embedded NATS server":    strings.TrimPrefix(own.ClientURL(), "nats://"),
		`the NATS server "elsewhere", version 2`: strings.TrimPrefix(testserver.NATS(t, testserver.NATSConfig("server_name: elsewhere")).URL(), "nats://"),
	} {
		t.Run(who, func(t *testing.T) {
			t.Parallel() // each waits for its address
			_, err := natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir(), Listen: addr})
			if f := fault.Of(err); f.Code != natsd.CodeStart || f.Path != addr || !strings.Contains(f.Error(), who) || !strings.Contains(f.Hint, "nats.embedded.listen") ||
				!strings.Contains(f.Hint, `url: "nats://`+addr) {
				t.Errorf("a chosen address that is taken: %v; %s", err, f.Hint)
			}
			n := start(t, natsd.Config{Dir: t.TempDir(), Listen: addr, ListenElse: true})
			if !listens(n) || n.ClientURL() == "nats://"+addr {
				t.Fatalf("listens on %q, and %s is taken", n.ClientURL(), addr)
			}
		})
	}
}

// listens tells whether others can connect.
func listens(n *natsd.NATS) bool {
	c, err := net.Dial("tcp", strings.TrimPrefix(n.ClientURL(), "nats://"))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// Several that start at once, each of which finds the address free, get on with it:
// one has it, and the others another.
func TestStartedAtOnce(t *testing.T) {
	for range 3 {
		addr := fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))
		var servers [4]*natsd.NATS
		var failed [len(servers)]error
		var wg sync.WaitGroup
		for i := range servers {
			dir := t.TempDir()
			wg.Go(func() {
				servers[i], failed[i] = natsd.Start(t.Context(), natsd.Config{Dir: dir, Listen: addr, ListenElse: true})
			})
		}
		wg.Wait()
		chosen := 0
		for i, n := range servers {
			if failed[i] != nil {
				t.Error(failed[i])
				continue
			}
			if !listens(n) {
				t.Errorf("nobody listens on %q", n.ClientURL())
			}
			if n.ClientURL() == "nats://"+addr {
				chosen++
			}
			closeNATS(t, n)
		}
		if chosen > 1 {
			t.Errorf("%d of them have %s", chosen, addr)
		}
	}
}

// Who starts while another is on the way out gets its address.
func TestAddressOfOneThatEnds(t *testing.T) {
	first := start(t, natsd.Config{Dir: t.TempDir(), Listen: fmt.Sprintf("127.0.0.1:%d", testserver.Port(t))})
	url := first.ClientURL()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeNATS(t, first)
	}()
	n := start(t, natsd.Config{Dir: t.TempDir(), Listen: strings.TrimPrefix(url, "nats://")})
	<-closed
	if n.ClientURL() != url || !listens(n) {
		t.Errorf("listens on %q, and %s came free", n.ClientURL(), url)
	}
}
