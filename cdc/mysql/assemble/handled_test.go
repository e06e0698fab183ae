package assemble

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/cdcd-io/cdcd/cdc/mysql/binlog"
	"github.com/cdcd-io/cdcd/cdc/mysql/gtid"
	"github.com/cdcd-io/cdcd/internal/fault"
)

var update = flag.Bool("update", false, "write docs/reference/log-events.md")

// TestHandled: each type of event that has a name is listed, once and in order,
// and what the list says is what happens.
func TestHandled(t *testing.T) {
	listed := map[binlog.EventType]EventHandling{}
	last := -1
	for _, h := range Handled() {
		if int(h.Type) <= last {
			t.Errorf("%v is listed twice or out of order", h.Type)
		}
		last = int(h.Type)
		listed[h.Type] = h
		if h.Detail == "" || (h.Does == Stops) != (h.Code != "") {
			t.Errorf("%v: %+v", h.Type, h)
		}
	}
	for n := range 256 {
		typ := binlog.EventType(n)
		h, ok := listed[typ]
		if ok != typ.Known() {
			t.Errorf("%v has a name: %v; is listed: %v", typ, typ.Known(), ok)
		}
		if !ok {
			h = EventHandling{typ, Stops, "unknown_event", ""}
		}
		t.Run(typ.String(), func(t *testing.T) { handle(t, h) })
	}
}

// handle feeds an event without content, outside of a transaction and inside:
// whoever reads it finds it broken, whoever passes it over finds nothing.
func handle(t *testing.T, h EventHandling) {
	for _, open := range []bool{false, true} {
		s := (&script{}).at(4)
		if open {
			s.query("BEGIN")
		}
		s.add(h.Type, 0, nil)
		from := begin()
		if h.Type >= binlog.MariaAnnotateRowsEvent {
			from.Flavor = gtid.MariaDB
		}
		r := newRig(t, from, "")
		err := r.feed(t, s.events...)
		code := ""
		if err != nil {
			code = fault.Of(err).Code
		}
		moved := r.Position().Pos != begin().Pos
		switch h.Does {
		case Stops:
			if code != h.Code && code != "binlog_corrupt" || code == "binlog_corrupt" && h.Code == "unknown_event" {
				t.Errorf("inside %v: %v, %s was due", open, err, h.Code)
			}
			ignorable := (&script{}).at(4)
			ignorable.add(h.Type, binlog.FlagIgnorable, nil)
			if err := newRig(t, begin(), "").feed(t, ignorable.events...); h.Code == "unknown_event" && err != nil {
				t.Errorf("ignorable: %v", err)
			}
		case Passes:
			if err != nil || moved || r.b.Rows() != 0 {
				t.Errorf("inside %v: %v, moved %v", open, err, moved)
			}
		case Decodes:
			if code != "binlog_corrupt" {
				t.Errorf("inside %v: %v, of an event without content", open, err)
			}
		case Follows:
			heartbeat := h.Type == binlog.HeartbeatEvent || h.Type == binlog.HeartbeatV2Event // names no place here
			if code != "binlog_corrupt" && err != nil || err == nil && !moved && !open && !heartbeat {
				t.Errorf("inside %v: %v, moved %v", open, err, moved)
			}
		}
	}
}

// TestHandledPage: the page says what the list says.
func TestHandledPage(t *testing.T) {
	const page = "../../../docs/reference/log-events.md"
	var b bytes.Buffer
	b.WriteString(pageHead)
	for _, h := range Handled() {
		does := string(h.Does)
		if h.Code != "" {
			does += ": `" + h.Code + "`"
		}
		fmt.Fprintf(&b, "| %d | %v | %s | %s |\n", h.Type, h.Type, does, h.Detail)
	}
	if *update {
		if err := os.WriteFile(page, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil || !bytes.Equal(have, b.Bytes()) {
		t.Errorf("docs/reference/log-events.md is stale: go test ./cdc/mysql/assemble -run TestHandledPage -update (%v)", err)
	}
}

const pageHead = `# Events of the log

What the sources ` + "`mysql`" + ` and ` + "`binlog_files`" + ` do with each type of event that a binary log of MySQL or MariaDB may hold. This page
is generated from the source's own list, which a test holds against what it does.

A type that is not here stops the reading (` + "`unknown_event`" + `), unless the event's header says that a reader which
does not know it may pass it over. Nothing unknown is skipped otherwise.

| number | event | | what happens |
|---|---|---|---|
`
