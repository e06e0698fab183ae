package testserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports are taken below Linux's ephemeral range (32768 and up), so that no
// outgoing connection can sit on a server's port between its Kill and Restart.
const (
	portMin = 15000
	portMax = 32000
)

// reservePort returns a free port of 127.0.0.1 that no other test process gets
// until the test ends. The reservation is a socket in Linux's abstract
// namespace: it leaves no file and ends with the process.
func reservePort(t testing.TB) int {
	t.Helper()
	for range 200 {
		port := portMin + rand.IntN(portMax-portMin)
		guard, err := net.Listen("unix", fmt.Sprintf("@cdcd-test-port-%d", port))
		if err != nil {
			continue // another test has it
		}
		probe, err := net.Listen("tcp", localAddr(port))
		if err != nil {
			guard.Close()
			continue // something else listens there
		}
		probe.Close()
		t.Cleanup(func() { guard.Close() })
		return port
	}
	t.Fatalf("no free port between %d and %d", portMin, portMax)
	return 0
}

func localAddr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Port returns a free port of 127.0.0.1 for a server that a test starts itself,
// reserved until the test ends.
func Port(t testing.TB) int { return reservePort(t) }
