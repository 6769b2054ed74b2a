package commitlog

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// Errors that callers answer with a Kafka error code.
var (
	// ErrStorage: the data directory is offline after a failed write or sync (KAFKA_STORAGE_ERROR).
	ErrStorage = errors.New("the data directory is offline")
	// ErrNoSpace: the disk is full. Nothing was appended; reading goes on, and appending works
	// again when there is space.
	ErrNoSpace = vfs.ErrNoSpace
	// ErrOffsetOutOfRange: the offset is below the log's start or above what may be read.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrClosed: the store was closed or the log deleted.
	ErrClosed = errors.New("the log is closed")
	// ErrStaleEpoch: the leader epoch of the records is below that of records in the log.
	ErrStaleEpoch = errors.New("the leader epoch is older than the log's")
	// ErrUnexpectedOffset: replicated records do not continue the log.
	ErrUnexpectedOffset = errors.New("the records do not continue the log")
	// ErrBusy: appends are in flight where none may be.
	ErrBusy = errors.New("appends are in flight")
)

// final is an error after which nothing is tried again. A sync can find the disk full as well: what it was to make durable may
// be gone, and the next one says that all is well, so that this is not [ErrNoSpace] to anyone.
func final(err error) error {
	if errors.Is(err, ErrNoSpace) {
		return errors.New(err.Error())
	}
	return err
}

// CorruptError says that bytes that were durable cannot be read any more. The
// partition is offline, nothing was deleted.
type CorruptError struct {
	Path string
	Pos  int64
	Why  string
}

// Error names the file and the position.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s is corrupt at position %d: %s; nothing was deleted: restore the file, or delete the partition's directory to let it be copied from another replica",
		e.Path, e.Pos, e.Why)
}
