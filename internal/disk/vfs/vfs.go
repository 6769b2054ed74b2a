// Package vfs is the only door to the file system.
//
// Duty: everything that keeps bytes takes an [FS]. [OS] is the machine's; [Sim]
// is a disk in memory that loses what was not synced, tears sectors, flips
// bits, fills up and fails, from one seed.
//
// Contract (both keep it, a conformance test compares them): a write is
// durable after [File.Sync] has returned nil; a created, renamed or removed
// name is durable after [FS.SyncDir] of its directory; a failed Sync says nothing
// about what is on disk and is final for that file. Paths are absolute or relative
// to the process, with the system's separator.
package vfs

import (
	"errors"
	"io/fs"
)

// Errors that callers act upon. Those of a real disk are wrapped so that
// errors.Is finds these.
var (
	// ErrNoSpace: the disk is full (ENOSPC, EDQUOT).
	ErrNoSpace = errors.New("no space left on the disk")
	// ErrLocked: another process holds the lock file.
	ErrLocked = errors.New("locked by another process")
	// ErrNotExist and ErrExist are io/fs's.
	ErrNotExist = fs.ErrNotExist
	ErrExist    = fs.ErrExist
)

// FS is a file system.
type FS interface {
	// Open opens an existing file for reading.
	Open(path string) (File, error)
	// Edit opens a file for reading and writing, creating it when missing.
	Edit(path string) (File, error)
	// Remove deletes a file or an empty directory.
	Remove(path string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(path string) error
	// Rename moves a file or directory over whatever file has the new name.
	Rename(from, to string) error
	// MkdirAll makes a directory and its parents.
	MkdirAll(path string) error
	// List gives the entries of a directory, sorted by name.
	List(dir string) ([]Entry, error)
	// Stat describes one path.
	Stat(path string) (Entry, error)
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Lock takes the exclusive lock file (created when missing) that Kafka's
	// brokers take too; Unlock by closing. ErrLocked when somebody has it.
	Lock(path string) (Lock, error)
	// Space tells the total and free bytes of the volume that holds path.
	Space(path string) (total, free int64, err error)
}

// Entry is one name in a directory.
type Entry struct {
	Name string
	Size int64
	Dir  bool
	// ModTimeMs is in milliseconds since the Unix epoch.
	ModTimeMs int64
}

// Lock is a held lock file.
type Lock interface {
	Close() error
}

// File is an open file. Reads and writes are at explicit offsets, may run
// concurrently, and are whole or an error.
type File interface {
	// ReadAt fills p from off; short reads at the end give io.EOF.
	ReadAt(p []byte, off int64) (int, error)
	// ReadCold is ReadAt for data that nobody will ask for soon: it does not
	// push hotter pages out of the page cache.
	ReadCold(p []byte, off int64) (int, error)
	// WriteAt writes p at off, growing the file.
	WriteAt(p []byte, off int64) (int, error)
	// WriteBuffers writes the buffers one after the other at off, in one call
	// of the system where it can. It does not keep or change bufs.
	WriteBuffers(bufs [][]byte, off int64) (int64, error)
	// Sync makes all that was written durable, with the size (fdatasync).
	Sync() error
	// Preallocate reserves the bytes [off, off+n) so that writing there does not
	// change metadata; the size grows, unwritten bytes read as zero.
	Preallocate(off, n int64) error
	// Truncate sets the size.
	Truncate(size int64) error
	// Size is the present size.
	Size() (int64, error)
	// Descriptor gives the system's file descriptor for sendfile; ok is false
	// when there is none (simulation).
	Descriptor() (fd uintptr, ok bool)
	// Close releases the file. It does not sync.
	Close() error
}
