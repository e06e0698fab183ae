package binlog

import (
	"encoding/binary"
	"strconv"
)

var le = binary.LittleEndian

// The flavours of server.
const (
	FlavorMySQL   = "mysql"
	FlavorMariaDB = "mariadb"
)

// HeaderSize is the size of the header that every event begins with.
const HeaderSize = 19

// EventType is the number in an event's header that says what it is.
type EventType uint8

// The event types of MySQL and, from 160, of MariaDB.
const (
	UnknownEvent            EventType = 0
	StartV3Event            EventType = 1
	QueryEvent              EventType = 2
	StopEvent               EventType = 3
	RotateEvent             EventType = 4
	IntVarEvent             EventType = 5
	LoadEvent               EventType = 6
	SlaveEvent              EventType = 7
	CreateFileEvent         EventType = 8
	AppendBlockEvent        EventType = 9
	ExecLoadEvent           EventType = 10
	DeleteFileEvent         EventType = 11
	NewLoadEvent            EventType = 12
	RandEvent               EventType = 13
	UserVarEvent            EventType = 14
	FormatDescriptionEvent  EventType = 15
	XIDEvent                EventType = 16
	BeginLoadQueryEvent     EventType = 17
	ExecuteLoadQueryEvent   EventType = 18
	TableMapEvent           EventType = 19
	WriteRowsV0Event        EventType = 20
	UpdateRowsV0Event       EventType = 21
	DeleteRowsV0Event       EventType = 22
	WriteRowsV1Event        EventType = 23
	UpdateRowsV1Event       EventType = 24
	DeleteRowsV1Event       EventType = 25
	IncidentEvent           EventType = 26
	HeartbeatEvent          EventType = 27
	IgnorableEvent          EventType = 28
	RowsQueryEvent          EventType = 29
	WriteRowsEvent          EventType = 30
	UpdateRowsEvent         EventType = 31
	DeleteRowsEvent         EventType = 32
	GTIDEvent               EventType = 33
	AnonymousGTIDEvent      EventType = 34
	PreviousGTIDsEvent      EventType = 35
	TransactionContextEvent EventType = 36
	ViewChangeEvent         EventType = 37
	XAPrepareEvent          EventType = 38
	PartialUpdateRowsEvent  EventType = 39
	TransactionPayloadEvent EventType = 40
	HeartbeatV2Event        EventType = 41
	GTIDTaggedEvent         EventType = 42

	MariaAnnotateRowsEvent         EventType = 160
	MariaBinlogCheckpointEvent     EventType = 161
	MariaGTIDEvent                 EventType = 162
	MariaGTIDListEvent             EventType = 163
	MariaStartEncryptionEvent      EventType = 164
	MariaQueryCompressedEvent      EventType = 165
	MariaWriteRowsCompressedV1     EventType = 166
	MariaUpdateRowsCompressedV1    EventType = 167
	MariaDeleteRowsCompressedV1    EventType = 168
	MariaWriteRowsCompressedEvent  EventType = 169
	MariaUpdateRowsCompressedEvent EventType = 170
	MariaDeleteRowsCompressedEvent EventType = 171
	MariaPartialRowDataEvent       EventType = 172
)

// String returns the name that the server's documentation gives the type, or
// "EVENT_n" for one that is not known.
func (t EventType) String() string {
	if name := eventName(t); name != "" {
		return name
	}
	return "EVENT_" + strconv.Itoa(int(t))
}

// Known reports whether the type has a name here. One that has none may only be
// skipped when its header carries FlagIgnorable.
func (t EventType) Known() bool { return eventName(t) != "" }

func eventName(t EventType) string {
	mysql := [...]string{
		"UNKNOWN", "START_V3", "QUERY", "STOP", "ROTATE", "INTVAR", "LOAD", "SLAVE",
		"CREATE_FILE", "APPEND_BLOCK", "EXEC_LOAD", "DELETE_FILE", "NEW_LOAD", "RAND",
		"USER_VAR", "FORMAT_DESCRIPTION", "XID", "BEGIN_LOAD_QUERY", "EXECUTE_LOAD_QUERY",
		"TABLE_MAP", "WRITE_ROWS_V0", "UPDATE_ROWS_V0", "DELETE_ROWS_V0", "WRITE_ROWS_V1",
		"UPDATE_ROWS_V1", "DELETE_ROWS_V1", "INCIDENT", "HEARTBEAT", "IGNORABLE",
		"ROWS_QUERY", "WRITE_ROWS", "UPDATE_ROWS", "DELETE_ROWS", "GTID", "ANONYMOUS_GTID",
		"PREVIOUS_GTIDS", "TRANSACTION_CONTEXT", "VIEW_CHANGE", "XA_PREPARE",
		"PARTIAL_UPDATE_ROWS", "TRANSACTION_PAYLOAD", "HEARTBEAT_V2", "GTID_TAGGED",
	}
	maria := [...]string{
		"ANNOTATE_ROWS", "BINLOG_CHECKPOINT", "MARIA_GTID", "GTID_LIST", "START_ENCRYPTION",
		"QUERY_COMPRESSED", "WRITE_ROWS_COMPRESSED_V1", "UPDATE_ROWS_COMPRESSED_V1",
		"DELETE_ROWS_COMPRESSED_V1", "WRITE_ROWS_COMPRESSED", "UPDATE_ROWS_COMPRESSED",
		"DELETE_ROWS_COMPRESSED", "PARTIAL_ROW_DATA",
	}
	switch {
	case int(t) < len(mysql):
		return mysql[t]
	case t >= MariaAnnotateRowsEvent && int(t-MariaAnnotateRowsEvent) < len(maria):
		return maria[t-MariaAnnotateRowsEvent]
	}
	return ""
}

// IsRows reports whether events of the type carry row images that RowsHeader
// understands.
func (t EventType) IsRows() bool {
	switch {
	case t >= WriteRowsV1Event && t <= DeleteRowsV1Event,
		t >= WriteRowsEvent && t <= DeleteRowsEvent,
		t == PartialUpdateRowsEvent,
		t >= MariaWriteRowsCompressedV1 && t <= MariaDeleteRowsCompressedEvent:
		return true
	}
	return false
}

// The flags of an event's header that matter here.
const (
	FlagInUse      uint16 = 0x0001 // on a FORMAT_DESCRIPTION: the file was not closed
	FlagArtificial uint16 = 0x0020 // made by the server for this connection, not in the log
	FlagIgnorable  uint16 = 0x0080 // a reader that does not know the type may skip it
)

// Header is the first 19 bytes of an event.
type Header struct {
	Timestamp uint32 // seconds since the Unix epoch, when the statement began
	Type      EventType
	ServerID  uint32
	Size      uint32 // bytes of the whole event, header and checksum included
	LogPos    uint32 // position behind the event, modulo 2^32; 0 where the server doesn't know it
	Flags     uint16
}

// ParseHeader reads the header at the beginning of p. The fault's code is
// binlog_corrupt.
func ParseHeader(p []byte) (h Header, err error) {
	err = h.read(p)
	return h, err
}

// read fills the header in place: most events of a log are passed over, and
// copying is what that would cost.
func (h *Header) read(p []byte) error {
	if len(p) < HeaderSize {
		return corrupt("event header", "%d bytes are too few for an event's header of %d", len(p), HeaderSize)
	}
	p = p[:HeaderSize]
	h.Timestamp = le.Uint32(p)
	h.Type = EventType(p[4])
	h.ServerID = le.Uint32(p[5:])
	h.Size = le.Uint32(p[9:])
	h.LogPos = le.Uint32(p[13:])
	h.Flags = le.Uint16(p[17:])
	if h.Size < HeaderSize {
		return corrupt(h.place(), "the header announces %d bytes, fewer than a header has", h.Size)
	}
	return nil
}

// place names the event for an error message.
func (h Header) place() string {
	return h.Type.String() + " before " + strconv.FormatUint(uint64(h.LogPos), 10)
}

// Event is one event: its header, and its body without checksum. Body is a
// view of the bytes that were given to Parse.
type Event struct {
	Header
	Body []byte
}
