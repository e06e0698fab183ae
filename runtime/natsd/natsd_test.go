package natsd_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/internal/testserver"
	"github.com/cdcd-io/cdcd/internal/unit"
	"github.com/cdcd-io/cdcd/runtime/natsd"
)

func start(t *testing.T, cfg natsd.Config) *natsd.NATS {
	t.Helper()
	n, err := natsd.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNATS(t, n) })
	return n
}

func closeNATS(t *testing.T, n *natsd.NATS) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Error(err)
	}
}

func TestEmbeddedKeepsStreamsAndLeavesNothingBehind(t *testing.T) {
	defer testserver.NoLeaks(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	for round := range 3 {
		n, err := natsd.Start(t.Context(), natsd.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		nc, err := n.Connect(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), "s", []byte("x"))
		if err != nil || ack.Sequence != uint64(round+1) {
			t.Fatalf("round %d: ack %+v, %v", round, ack, err)
		}
		if got := nc.MaxPayload(); got != natsd.PayloadBytesMax {
			t.Errorf("max payload %d", got)
		}
		if n.ClientURL() != "" {
			t.Errorf("listens at %s without being asked", n.ClientURL())
		}
		closeNATS(t, n)
		closeNATS(t, n) // further calls do nothing
		if !nc.IsClosed() {
			t.Error("connection outlived Close")
		}
		if _, err := n.Connect(t.Context(), "late"); !fault.HasCode(err, natsd.CodeUnreachable) {
			t.Errorf("connect after Close: %v", err)
		}
	}
}

func TestTwoServersNeverShareAStore(t *testing.T) {
	dir := t.TempDir()
	start(t, natsd.Config{Dir: dir})
	_, err := natsd.Start(t.Context(), natsd.Config{Dir: dir})
	if !fault.HasCode(err, natsd.CodeInUse) || fault.ExitCode(err) != 3 {
		t.Fatalf("second server on one store: %v", err)
	}
}

func TestListens(t *testing.T) {
	n := start(t, natsd.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	other, err := natsd.Start(t.Context(), natsd.Config{URL: n.ClientURL()})
	if err != nil {
		t.Fatal(err)
	}
	closeNATS(t, other)
}

func TestOccupiedAddressIsAFault(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = natsd.Start(t.Context(), natsd.Config{Dir: t.TempDir(), Listen: l.Addr().String()})
	if !fault.HasCode(err, natsd.CodeStart) || fault.Of(err).Hint == "" {
		t.Fatalf("occupied address: %v", err)
	}
}

func TestStoreIsBounded(t *testing.T) {
	n := start(t, natsd.Config{Dir: t.TempDir(), StoreBytesMax: 80 << 20})
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, MaxBytes: int64(unit.Bytes(100 << 20))})
	if err == nil {
		t.Fatal("a stream larger than the store was accepted")
	}
}

func TestExternal(t *testing.T) {
	ns := testserver.NATS(t)
	n := start(t, natsd.Config{URL: ns.URL()})
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ns.Kill()
	for nc.IsConnected() {
		time.Sleep(time.Millisecond)
	}
	if err := nc.Publish("s", nil); err == nil {
		t.Error("publishing into a lost connection gave no error")
	}
	ns.Restart(t)
	for deadline := time.Now().Add(time.Minute); !nc.IsConnected(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not reconnect")
		}
	}
}

func TestExternalFaults(t *testing.T) {
	url := fmt.Sprintf("nats://127.0.0.1:%d", testserver.Port(t))
	_, err := natsd.Start(t.Context(), natsd.Config{URL: url})
	if !fault.HasCode(err, natsd.CodeUnreachable) || fault.ExitCode(err) != 3 {
		t.Errorf("no server: %v", err)
	}

	ns := testserver.NATS(t, testserver.NATSConfig(
		"accounts { A { users: [{user: a, password: a}] }, B { jetstream: enabled, users: [{user: b, password: b}] } }",
		"no_auth_user: a"))
	_, err = natsd.Start(t.Context(), natsd.Config{URL: ns.URL()})
	if !fault.HasCode(err, natsd.CodeNoJetStream) {
		t.Errorf("account without JetStream: %v", err)
	}
}

// A server that is too old is refused at the start, with the version to have.
func TestOldServerIsAFault(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = c.Write([]byte(`INFO {"server_id":"OLD","version":"2.12.1","max_payload":1048576,"headers":true,"jetstream":true,"proto":1}` + "\r\n"))
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if lines.Text() == "PING" {
				_, _ = c.Write([]byte("PONG\r\n"))
			}
		}
	}()
	_, err = natsd.Start(t.Context(), natsd.Config{URL: "nats://" + l.Addr().String()})
	f := fault.Of(err)
	if f == nil || f.Code != natsd.CodeTooOld || f.Class != fault.Environment || !strings.Contains(err.Error(), "2.12.1") || !strings.Contains(f.Hint, "2.14") {
		t.Errorf("%v, hint %q", err, f.Hint)
	}
	_ = l.Close()
	<-served
}

// A batch may be as large as is said, which the server tells by refusing more.
func TestEmbeddedTakesLargeBatches(t *testing.T) {
	n := start(t, natsd.Config{Dir: t.TempDir(), Fsync: true})
	defer closeNATS(t, n)
	nc, err := n.Connect(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, AllowAtomicPublish: true}); err != nil {
		t.Fatal(err)
	}
	answer, err := nc.RequestMsg(&nats.Msg{Subject: "s", Header: nats.Header{"Nats-Batch-Id": {"b"},
		"Nats-Batch-Sequence": {strconv.Itoa(natsd.BatchMessagesMax + 1)}}}, 5*time.Second)
	if err != nil || !strings.Contains(string(answer.Data), "too large: "+strconv.Itoa(natsd.BatchMessagesMax)) {
		t.Errorf("%v, %s", err, answer.Data)
	}
}
