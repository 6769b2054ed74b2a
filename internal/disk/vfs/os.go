package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// Permissions of what is created, those that Kafka's brokers leave under the usual umask.
const (
	filePerm = 0o644
	dirPerm  = 0o755
)

// maxBuffers is how many buffers one vectored write takes (IOV_MAX on Linux and macOS).
const maxBuffers = 1024

// OS is the machine's file system. Its zero value works; use one for a whole
// process, because it learns what the kernel can do.
type OS struct {
	// noDontCache says that the kernel or a file system refused RWF_DONTCACHE.
	noDontCache atomic.Bool
}

// NewOS gives the machine's file system.
func NewOS() *OS { return &OS{} }

// Open opens an existing file for reading.
func (o *OS) Open(path string) (File, error) {
	return o.open(path, os.O_RDONLY)
}

// Edit opens a file for reading and writing, creating it when missing.
func (o *OS) Edit(path string) (File, error) {
	return o.open(path, os.O_RDWR|os.O_CREATE)
}

func (o *OS) open(path string, flag int) (File, error) {
	f, err := os.OpenFile(path, flag, filePerm)
	if err != nil {
		return nil, known(err)
	}
	return &osFile{os: o, file: f, fd: f.Fd()}, nil
}

// Remove deletes a file or an empty directory.
func (o *OS) Remove(path string) error { return known(os.Remove(path)) }

// RemoveAll deletes a tree; a missing one is no error.
func (o *OS) RemoveAll(path string) error { return known(os.RemoveAll(path)) }

// Rename moves a file or directory over whatever file has the new name.
func (o *OS) Rename(from, to string) error { return known(os.Rename(from, to)) }

// MkdirAll makes a directory and its parents.
func (o *OS) MkdirAll(path string) error { return known(os.MkdirAll(path, dirPerm)) }

// List gives the entries of a directory, sorted by name. A name that vanishes
// while the directory is read is left out.
func (o *OS) List(dir string) ([]Entry, error) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return nil, known(err)
	}
	list := make([]Entry, 0, len(found))
	for _, d := range found {
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, known(err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			// A log directory may hold links to other volumes: describe what they lead to.
			if target, err := os.Stat(filepath.Join(dir, d.Name())); err == nil {
				info = target
			}
		}
		e := entryOf(info)
		e.Name = d.Name()
		list = append(list, e)
	}
	return list, nil
}

// Permissions are the bits of a file's mode that say who may read and change it. Only a real disk has them.
func (o *OS) Permissions(path string) (fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, known(err)
	}
	return info.Mode().Perm(), nil
}

// Stat describes one path.
func (o *OS) Stat(path string) (Entry, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Entry{}, known(err)
	}
	return entryOf(info), nil
}

func entryOf(info fs.FileInfo) Entry {
	e := Entry{Name: info.Name(), Dir: info.IsDir(), ModTimeMs: info.ModTime().UnixMilli()}
	if !e.Dir {
		e.Size = info.Size()
	}
	return e
}

// SyncDir makes the names in a directory durable.
func (o *OS) SyncDir(dir string) error { return known(syncDir(dir)) }

// Space tells the total and free bytes of the volume that holds path. Free is
// what an unprivileged process may still write.
func (o *OS) Space(path string) (total, free int64, err error) {
	total, free, err = space(path)
	if err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return total, free, nil
}

// locks are the lock files this process holds. POSIX locks belong to the
// process, so the kernel would grant a second one, and closing any descriptor of the file,
// even that of a refused attempt, would give the first one away: a held file
// must be recognised before it is opened again.
var locks struct {
	sync.Mutex // guards held, and spans look-up and open
	held       []*osLock
}

// Lock takes the exclusive lock file, in the way of Java's FileChannel.tryLock
// (a POSIX lock on the whole file), so that Kafka's brokers and we exclude each
// other. While it is held nothing else in the process may open the file:
// closing such a handle would drop the lock.
func (o *OS) Lock(path string) (Lock, error) {
	locks.Lock()
	defer locks.Unlock()
	if info, err := os.Stat(path); err == nil {
		for _, l := range locks.held {
			if os.SameFile(l.info, info) {
				return nil, &fs.PathError{Op: "lock", Path: path, Err: ErrLocked}
			}
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return nil, known(err)
	}
	l := &osLock{file: f}
	if err := lockFile(f); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: path, Err: err}, f.Close())
	}
	if l.info, err = f.Stat(); err != nil {
		return nil, errors.Join(known(err), f.Close())
	}
	locks.held = append(locks.held, l)
	return l, nil
}

// osLock is a held lock file.
type osLock struct {
	file *os.File
	info fs.FileInfo
}

// Close gives the lock back; closing the descriptor does it.
func (l *osLock) Close() error {
	locks.Lock()
	defer locks.Unlock()
	for i, h := range locks.held {
		if h == l {
			locks.held = append(locks.held[:i], locks.held[i+1:]...)
			return l.file.Close()
		}
	}
	return fs.ErrClosed
}

// osFile is an open file of the machine.
type osFile struct {
	os   *OS
	file *os.File
	// live is read-held around each use of fd and write-held by Close, so that a
	// number that the kernel has given to another file is never used.
	live   sync.RWMutex
	closed bool
	fd     uintptr
}

// ReadAt fills p from off; short reads at the end give io.EOF.
func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = known(err)
	}
	return n, err
}

// ReadCold is ReadAt for data that nobody will ask for soon.
func (f *osFile) ReadCold(p []byte, off int64) (int, error) {
	f.live.RLock()
	defer f.live.RUnlock()
	if f.closed {
		return 0, f.failed("read", fs.ErrClosed)
	}
	return f.readCold(p, off)
}

// WriteAt writes p at off, growing the file.
func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.file.WriteAt(p, off)
	return n, known(err)
}

// WriteBuffers writes the buffers one after the other at off, in one call of
// the system for each 1,024 of them.
func (f *osFile) WriteBuffers(bufs [][]byte, off int64) (int64, error) {
	f.live.RLock()
	defer f.live.RUnlock()
	if f.closed {
		return 0, f.failed("write", fs.ErrClosed)
	}
	return f.writeBuffers(bufs, off)
}

// Sync makes all that was written durable, with the size.
func (f *osFile) Sync() error {
	f.live.RLock()
	defer f.live.RUnlock()
	if f.closed {
		return f.failed("sync", fs.ErrClosed)
	}
	if err := syncData(f.file, f.fd); err != nil {
		return f.failed("sync", err)
	}
	return nil
}

// Preallocate reserves the bytes [off, off+n); the size grows. Where the file
// system cannot reserve, the part beyond the present end is written with zeros.
func (f *osFile) Preallocate(off, n int64) error {
	f.live.RLock()
	defer f.live.RUnlock()
	if f.closed {
		return f.failed("preallocate", fs.ErrClosed)
	}
	err := reserve(f.fd, off, n)
	if errors.Is(err, errors.ErrUnsupported) {
		err = f.writeZeros(off + n)
	}
	if err != nil {
		return f.failed("preallocate", err)
	}
	return nil
}

// writeZeros grows the file to the size with zeros that are really written.
func (f *osFile) writeZeros(size int64) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	zeros := make([]byte, 256<<10)
	for at := info.Size(); at < size; {
		n, err := f.file.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}

// Truncate sets the size.
func (f *osFile) Truncate(size int64) error { return known(f.file.Truncate(size)) }

// Size is the present size.
func (f *osFile) Size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, known(err)
	}
	return info.Size(), nil
}

// Descriptor gives the system's file descriptor for sendfile. It is valid until
// Close: whoever uses it holds the file open.
func (f *osFile) Descriptor() (fd uintptr, ok bool) { return f.fd, true }

// Close releases the file. It does not sync.
func (f *osFile) Close() error {
	f.live.Lock()
	defer f.live.Unlock()
	f.closed = true
	return known(f.file.Close())
}

// failed says what was done to which file.
func (f *osFile) failed(op string, err error) error {
	var named *fs.PathError
	if !errors.As(err, &named) {
		err = &fs.PathError{Op: op, Path: f.file.Name(), Err: err}
	}
	return known(err)
}

// known makes errors.Is find ErrNoSpace in what the system calls a full disk.
func known(err error) error {
	if err != nil && isNoSpace(err) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}
