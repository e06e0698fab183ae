package binlog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// What a binlog file begins with.
const (
	fileMagic      = "\xfebin"
	encryptedMagic = "\xfdbin"
)

// FileReader reads a binlog file event by event. It holds one event at a time.
type FileReader struct {
	name    string
	closer  io.Closer
	r       *bufio.Reader
	limit   int
	buf     []byte
	offset  int64 // of the next event
	inUse   bool
	started bool
}

// OpenFile opens a binlog file. eventBytesMax bounds one event; 0 takes
// EventBytesMax. Faults: binlog_encrypted, binlog_corrupt for a file that is no
// binlog, binlog_truncated for one without a beginning.
func OpenFile(path string, eventBytesMax int) (*FileReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Environment, "binlog_unreadable", path, "check the file's name and its permissions", "%w", err)
	}
	r, err := NewFileReader(f, path, eventBytesMax)
	if err != nil {
		_ = f.Close() // it was only read
		return nil, err
	}
	r.closer = f
	return r, nil
}

// NewFileReader reads a binlog file's bytes from r; name is for errors. The
// faults are those of OpenFile.
func NewFileReader(r io.Reader, name string, eventBytesMax int) (*FileReader, error) {
	if eventBytesMax <= 0 {
		eventBytesMax = EventBytesMax
	}
	f := &FileReader{name: name, r: bufio.NewReaderSize(r, 64<<10), limit: eventBytesMax}
	var magic [4]byte
	if n, err := io.ReadFull(f.r, magic[:]); err != nil {
		return nil, f.cut(err, n)
	}
	switch string(magic[:]) {
	case fileMagic:
	case encryptedMagic:
		return nil, encrypted(name)
	default:
		return nil, fault.New(fault.Config, CodeCorrupt, name,
			"name a file that the server's SHOW BINARY LOGS lists; unpack it first if it is compressed",
			"the file begins with %q, a binlog with %q", magic[:], fileMagic)
	}
	f.offset = int64(len(magic))
	return f, nil
}

// Next returns the next raw event, for Parser.Parse, and the offset at which it
// begins; io.EOF at the end of the file. The bytes are good until the next
// call. Faults: event_too_large before anything is allocated, binlog_corrupt,
// binlog_encrypted where MariaDB's encryption begins, and
// binlog_truncated for a file that ends inside an event, which is what a file in
// use does at times and a crashed server's last file may: see InUse.
func (f *FileReader) Next() (raw []byte, offset int64, err error) {
	offset = f.offset
	head, err := f.r.Peek(HeaderSize)
	if err != nil {
		if err == io.EOF && len(head) == 0 {
			return nil, offset, io.EOF
		}
		return nil, offset, f.cut(err, len(head))
	}
	h, err := ParseHeader(head)
	if err != nil {
		return nil, offset, f.at(offset, err)
	}
	if uint64(h.Size) > uint64(f.limit) {
		return nil, offset, f.at(offset, tooLarge(h.place(), uint64(h.Size), uint64(f.limit)))
	}
	if !f.started {
		if h.Type != FormatDescriptionEvent && h.Type != StartV3Event {
			return nil, offset, f.at(offset, corrupt(h.place(), "the file's first event is no format description"))
		}
		f.inUse, f.started = h.Flags&FlagInUse != 0, true
	}
	if h.Type == MariaStartEncryptionEvent {
		return nil, offset, encrypted(f.name)
	}
	if f.buf, err = readMore(f.r, f.buf[:0], int(h.Size)); err != nil {
		return nil, offset, f.cut(err, len(f.buf))
	}
	f.offset += int64(h.Size)
	return f.buf, offset, nil
}

// encrypted is the fault for a file that only its server can read: MySQL marks
// it by its first bytes, MariaDB by an event behind the format description.
func encrypted(name string) error {
	return fault.New(fault.Environment, CodeEncrypted, name,
		"read it through the server (source mysql), or decrypt it: mysqlbinlog --read-from-remote-server --raw",
		"the file is encrypted by the server (binlog_encryption, encrypt_binlog)")
}

// InUse reports whether the file's first event says that the file was not
// closed: the server is writing it, or crashed. It is known from the first Next.
func (f *FileReader) InUse() bool { return f.inUse }

// Offset returns where the next event begins.
func (f *FileReader) Offset() int64 { return f.offset }

// Name returns the file's name.
func (f *FileReader) Name() string { return f.name }

// Close closes the file.
func (f *FileReader) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// cut makes a fault of an error of reading.
func (f *FileReader) cut(err error, have int) error {
	place := fmt.Sprintf("%s:%d", f.name, f.offset)
	if x, ok := errors.AsType[*fault.Fault](err); ok { // of what r itself is read through
		c := *x
		c.Path = place
		return &c
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Fatal, CodeTruncated, place,
			"copy the file again, after FLUSH BINARY LOGS if the server is still writing it",
			"the file ends inside an event, %d bytes of which are there", have)
	}
	return fault.New(fault.Environment, "binlog_unreadable", place, "check the disk and the file's permissions", "%w", err)
}

// at adds the file and the offset to a fault's place.
func (f *FileReader) at(offset int64, err error) error {
	if x := fault.Of(err); x.Code != "unexpected" {
		x.Path = fmt.Sprintf("%s:%d: %s", f.name, offset, x.Path)
	}
	return err
}
