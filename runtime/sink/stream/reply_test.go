package stream

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/cdcd-io/cdcd/internal/fault"
	"github.com/cdcd-io/cdcd/runtime/sink"
	"github.com/cdcd-io/cdcd/runtime/sink/chain"
)

const replySubject = "_INBOX.abc.WRITER-17.128.fail.40.1.$FI"

func TestReplies(t *testing.T) {
	for _, tt := range []struct {
		name, subject, data string
		want                chain.Ack
		err, ok             bool
	}{
		{"flow", replySubject, `{"type":"ack","seq":128,"msgs":128}`, chain.Ack{Run: 17, Count: 128}, false, true},
		{"flow, start", replySubject, `{"type":"ack","seq":0,"msgs":10}`, chain.Ack{Run: 17}, false, true},
		{"end", replySubject, `{"stream":"S","seq":99,"batch":"WRITER-17","count":40}`, chain.Ack{Run: 17, Count: 40, Ended: true}, false, true},
		{"gap", replySubject, `{"type":"gap","last_seq":3,"seq":5}`, chain.Ack{Run: 17}, true, true},
		{"error", replySubject, `{"type":"err","seq":40,"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"}}`, chain.Ack{Run: 17}, true, true},
		{"unknown batch", replySubject, `{"error":{"code":400,"err_code":10208,"description":"batch publish ID unknown"},"stream":"S","seq":0}`, chain.Ack{Run: 17}, true, true},
		{"nonsense", replySubject, `{`, chain.Ack{Run: 17}, true, true},
		{"something else", replySubject, `{}`, chain.Ack{Run: 17}, true, true},
		{"count beyond 64 bits", replySubject, `{"type":"ack","seq":99999999999999999999999,"msgs":1}`, chain.Ack{Run: 17}, true, true},
		{"other subject", "_INBOX.abc.x", `{}`, chain.Ack{}, false, false},
		{"subject without a run", "_INBOX.abc.WRITER.128.fail.40.1.$FI", `{}`, chain.Ack{}, false, false},
	} {
		got, ok := parseReply(tt.subject, nil, []byte(tt.data))
		if ok != tt.ok || (got.Err != nil) != tt.err {
			t.Errorf("%s: %+v, %v", tt.name, got, ok)
		}
		if got.Err = nil; got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	ack, ok := parseReply(replySubject, nats.Header{"Status": {"503"}}, nil)
	if !ok || ack.Err == nil {
		t.Errorf("nobody there: %+v, %v", ack, ok)
	}
}

func TestExplain(t *testing.T) {
	l := newStreamLog("S", "c")
	for code, want := range map[int]string{
		10047: sink.CodeStreamFull, 10023: sink.CodeStreamFull, 10002: sink.CodeStreamFull,
		10054: sink.CodeMessageTooLarge, 10059: sink.CodeStreamGone, 10109: CodeStreamConfig, 10205: CodeStreamConfig,
	} {
		if err := l.explain(&apiError{ErrCode: code}); !fault.HasCode(err, want) {
			t.Errorf("%d: %v, want %s", code, err, want)
		}
	}
	if err := l.explain(&apiError{ErrCode: 10077, Description: "maximum bytes exceeded"}); !fault.HasCode(err, sink.CodeStreamFull) {
		t.Error(err)
	}
	for code, want := range map[int]error{10071: chain.ErrWrongLast, 10164: chain.ErrWrongLast, 10037: chain.ErrNoMessage} {
		if err := l.explain(&apiError{ErrCode: code}); !errors.Is(err, want) {
			t.Errorf("%d: %v, want %v", code, err, want)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add(replySubject, []byte(`{"type":"ack","seq":128,"msgs":128}`))
	f.Add(replySubject, []byte(`{"stream":"S","seq":99,"batch":"b","count":40}`))
	f.Add("..WRITER-1.1.fail.1.1.$FI", []byte(`{"error":{}}`))
	f.Fuzz(func(t *testing.T, subject string, data []byte) {
		ack, ok := parseReply(subject, nil, data)
		if !ok && ack != (chain.Ack{}) {
			t.Fatalf("refused, and yet %+v", ack)
		}
	})
}

func TestHeadersAllocateNothing(t *testing.T) {
	var h Heads
	m := &chain.Outgoing{}
	m.Values[chain.HeaderPos], m.Values[chain.HeaderSeq], m.Values[chain.HeaderEpoch] = "t#1.0/1#0", "7", "9"
	if n := testing.AllocsPerRun(100, func() {
		head := h.of(m, "41", nil)
		if len(head) != 4 || head.Get("Cdc-Seq") != "7" {
			t.Fatalf("headers %v", head)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
