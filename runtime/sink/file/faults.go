package file

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/cdcd-io/cdcd/internal/fault"
)

// Codes of this package's faults.
const (
	// CodeUnwritable: the file can't be opened, written or synced.
	CodeUnwritable = "file_unwritable"
	// CodeFolder: the folder of the file is not there.
	CodeFolder = "file_folder_missing"
	// CodeFull: the disk has no room.
	CodeFull = "file_disk_full"
	// CodeTruncated: the file is shorter than what was confirmed in it.
	CodeTruncated = "file_truncated"
	// CodeChanged: the file is not the one that was written, or was edited.
	CodeChanged = "file_changed"
	// CodeRemoved: the file or its journal is gone.
	CodeRemoved = "file_removed"
	// CodeUnknown: there are files that this pipeline did not write.
	CodeUnknown = "file_unknown_content"
	// CodeLocked: another cdcd, or another pipeline, writes the file.
	CodeLocked = "file_locked"
	// CodeJournal: the journal can't be read.
	CodeJournal = "file_journal_damaged"
	// CodeHousekeeping: closed files can't be packed or removed.
	CodeHousekeeping = "file_housekeeping"
)

const anew = "begin anew: give the pipeline and its file new names"

// errLocked is what locking a journal returns that somebody else has locked.
var errLocked = errors.New("another process, or another pipeline of this one, has it locked")

// explain makes a fault of what a file system says.
func explain(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errLocked):
		return fault.New(fault.Environment, CodeLocked, path,
			"give each pipeline a file of its own; if another cdcd writes this one, stop it first", "%w", err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fault.New(fault.Retryable, CodeFull, path,
			"make room on the disk: the pipeline goes on by itself; keep: {bytes: …} removes the oldest closed files in time", "%w", err)
	case errors.As(err, new(*fault.Fault)):
		return err
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(fault.Environment, CodeFolder, path, "make the folder, writable for the user that runs cdcd; or mount its disk", "%w", err)
	}
	return fault.New(fault.Environment, CodeUnwritable, path,
		"make the file and its folder writable for the user that runs cdcd, on a disk that works", "%w", err)
}
