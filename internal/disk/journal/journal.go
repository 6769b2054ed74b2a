package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/invariant"
)

const (
	// Folder is the journal's folder within a data directory.
	Folder = "moldau-journal"

	fileSuffix = ".journal"
	// keepFree is how many released files are kept to be written again.
	keepFree = 2
	// MinFileBytes is the smallest file that holds a frame of any allowed size.
	MinFileBytes = 1 << 20
)

// Journal writes frames. The zero value is not usable; see [New].
type Journal struct {
	fs        vfs.FS
	dir       string
	fileBytes int64

	// epoch, sequence, written, synced, cur and pos belong to the writing goroutine.
	epoch    uint64
	sequence uint64 // of the next frame
	synced   uint64 // the highest that is durable
	cur      *file
	pos      int64
	bufs     [][]byte
	header   [page]byte
	made     bool // the folder is there
	newNames bool // a file was created since the folder was last synced

	mu   sync.Mutex // guards what follows
	used []*file    // files that hold frames that are not released, oldest first, without cur
	free []*file    // files with a zeroed header
	next int        // number of the next file
}

// file is one open journal file.
type file struct {
	vfs.File
	path string
	last uint64 // sequence of the last frame in it
}

// New prepares a journal in dir, which continues after what [Scan] found there.
// Nothing is created before the first [Journal.Write]. salt makes the first life's epoch.
func New(fsys vfs.FS, dir string, fileBytes int64, found *Found, salt uint64) *Journal {
	j := &Journal{
		fs: fsys, dir: filepath.Join(dir, Folder), fileBytes: max(fileBytes, MinFileBytes) / page * page,
		epoch: salt >> 2, sequence: 1, next: 1,
	}
	if found != nil && found.Exists {
		j.epoch, j.sequence = found.Epoch+1, found.Next
		j.next = found.maxNumber + 1
		j.made = true
		for _, path := range found.paths {
			j.used = append(j.used, &file{path: path, last: j.sequence - 1})
		}
	}
	j.synced = j.sequence - 1
	return j
}

// Room is the largest frame, head included, that a file can hold.
func (j *Journal) Room() int64 { return min(j.fileBytes-page, MaxPayloadBytes) }

// Used tells whether the journal has files.
func (j *Journal) Used() bool { return j.made }

// Last is the sequence of the last frame written.
func (j *Journal) Last() uint64 { return j.sequence - 1 }

// Write writes the frame; [Journal.Sync] makes it durable. After an error the
// frame is not in the journal, and the next frame takes its place: until one has, a
// crash may bring the refused one back, so nothing may be acknowledged in between
// (see [Journal.Erase]).
func (j *Journal) Write(f *Frame) error {
	invariant.Check(f.entries > 0 && f.size() <= j.Room(), "journal frame of %d entries, %d bytes, room %d", f.entries, f.size(), j.Room())
	if j.cur == nil || j.pos+f.size() > j.fileBytes {
		if err := j.advance(); err != nil {
			return err
		}
	}
	f.seal(j.epoch, j.sequence, j.synced)
	j.bufs = j.bufs[:0]
	at := j.pos
	if at == page {
		j.putFileHeader()
		j.bufs = append(j.bufs, j.header[:])
		at = 0
	}
	j.bufs = append(j.bufs, f.head)
	j.bufs = append(j.bufs, f.payloads...)
	_, err := j.cur.WriteBuffers(j.bufs, at)
	clear(j.bufs)
	if err != nil {
		return fmt.Errorf("writing journal file %s at %d: %w", j.cur.path, at, err)
	}
	j.cur.last = j.sequence
	j.sequence++
	j.pos += (f.size() + page - 1) / page * page
	return nil
}

// Erase overwrites the place of a frame that [Journal.Write] refused, so that it cannot come back. It does nothing when there
// is no file yet.
func (j *Journal) Erase() error {
	if j.cur == nil || j.pos+page > j.fileBytes {
		return nil
	}
	var zero [page]byte
	if _, err := j.cur.WriteAt(zero[:], j.pos); err != nil {
		return fmt.Errorf("erasing a frame of journal file %s at %d: %w", j.cur.path, j.pos, err)
	}
	if err := j.cur.File.Sync(); err != nil {
		return fmt.Errorf("syncing journal file %s: %w", j.cur.path, err)
	}
	return nil
}

func (j *Journal) putFileHeader() {
	h := j.header[:]
	binary.BigEndian.PutUint32(h, fileMagic)
	binary.BigEndian.PutUint32(h[8:], fileVersion)
	binary.BigEndian.PutUint64(h[12:], j.epoch)
	binary.BigEndian.PutUint64(h[20:], j.sequence)
	binary.BigEndian.PutUint32(h[4:], crc32.Checksum(h[8:fileHeaderBytes], castagnoli))
}

// advance makes a free or new file the current one.
func (j *Journal) advance() error {
	j.mu.Lock()
	var next *file
	if n := len(j.free); n > 0 {
		next, j.free = j.free[n-1], j.free[:n-1]
	}
	number := j.next
	if next == nil {
		j.next++
	}
	j.mu.Unlock()
	if next == nil {
		var err error
		if next, err = j.create(number); err != nil {
			return err
		}
	}
	if j.cur != nil {
		if j.cur.last > j.synced {
			if err := j.cur.File.Sync(); err != nil {
				return fmt.Errorf("syncing journal file %s: %w", j.cur.path, err)
			}
		}
		j.mu.Lock()
		j.used = append(j.used, j.cur)
		j.mu.Unlock()
	}
	j.cur, j.pos = next, page
	return nil
}

func (j *Journal) create(number int) (*file, error) {
	if !j.made {
		if err := j.fs.MkdirAll(j.dir); err != nil {
			return nil, fmt.Errorf("creating the journal folder %s: %w", j.dir, err)
		}
		if err := j.fs.SyncDir(filepath.Dir(j.dir)); err != nil {
			return nil, fmt.Errorf("making the journal folder %s durable: %w", j.dir, err)
		}
		j.made = true
	}
	path := filepath.Join(j.dir, fileName(number))
	f, err := j.fs.Edit(path)
	if err != nil {
		return nil, fmt.Errorf("creating journal file %s: %w", path, err)
	}
	if err := f.Preallocate(0, j.fileBytes); err != nil {
		// What was reserved before the disk was full must not stay taken.
		return nil, errors.Join(fmt.Errorf("reserving %d bytes for journal file %s: %w", j.fileBytes, path, err), f.Close(), j.fs.Remove(path))
	}
	j.newNames = true
	return &file{File: f, path: path}, nil
}

// Sync makes every frame written so far durable. An error is final: what is on disk is unknown.
func (j *Journal) Sync() error {
	if j.synced == j.sequence-1 {
		return nil
	}
	if err := j.cur.File.Sync(); err != nil {
		return fmt.Errorf("syncing journal file %s: %w", j.cur.path, err)
	}
	if j.newNames {
		if err := j.fs.SyncDir(j.dir); err != nil {
			return fmt.Errorf("making the names in the journal folder %s durable: %w", j.dir, err)
		}
		j.newNames = false
	}
	j.synced = j.sequence - 1
	return nil
}

// Release says that frames up to sequence last are no longer needed. Whole files
// become free: their headers are zeroed, durably, before they may be used again. It may run beside the writing goroutine.
func (j *Journal) Release(last uint64) error {
	j.mu.Lock()
	n := 0
	for n < len(j.used) && j.used[n].last <= last {
		n++
	}
	gone := append([]*file(nil), j.used[:n]...)
	j.used = append(j.used[:0], j.used[n:]...)
	keep := max(keepFree-len(j.free), 0)
	j.mu.Unlock()
	for i, f := range gone {
		if f.File != nil && i < keep {
			if err := j.recycle(f); err != nil {
				return err
			}
			continue
		}
		if err := j.remove(f); err != nil {
			return err
		}
	}
	return nil
}

// wipe zeroes the header, durably.
func (f *file) wipe() error {
	var zero [page]byte
	if _, err := f.WriteAt(zero[:], 0); err != nil {
		return fmt.Errorf("releasing journal file %s: %w", f.path, err)
	}
	if err := f.File.Sync(); err != nil {
		return fmt.Errorf("syncing journal file %s: %w", f.path, err)
	}
	return nil
}

func (j *Journal) recycle(f *file) error {
	if err := f.wipe(); err != nil {
		return err
	}
	j.mu.Lock()
	j.free = append(j.free, f)
	j.mu.Unlock()
	return nil
}

// remove deletes a file. Its header goes first, durably: were the name to come back
// without those of its successors, frames would seem to be missing.
func (j *Journal) remove(f *file) error {
	if f.File == nil {
		var err error
		if f.File, err = j.fs.Edit(f.path); err != nil {
			return fmt.Errorf("opening journal file %s: %w", f.path, err)
		}
	}
	err := errors.Join(f.wipe(), f.Close())
	if err != nil {
		return err
	}
	if err := j.fs.Remove(f.path); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return fmt.Errorf("removing journal file %s: %w", f.path, err)
	}
	return nil
}

// LiveBytes is the space taken by files that hold frames which are not released.
func (j *Journal) LiveBytes() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return int64(len(j.used)) * j.fileBytes
}

// Close closes the files and leaves them as they are.
func (j *Journal) Close() error {
	j.mu.Lock()
	files := append(append([]*file(nil), j.used...), j.free...)
	j.used, j.free = nil, nil
	j.mu.Unlock()
	if j.cur != nil {
		files = append(files, j.cur)
		j.cur = nil
	}
	var err error
	for _, f := range files {
		if f.File != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// Remove closes the journal and deletes its folder: everything in it has reached the segments, durably.
func (j *Journal) Remove() error {
	err := j.Close()
	if !j.made {
		return err
	}
	j.made = false
	return errors.Join(err, Discard(j.fs, filepath.Dir(j.dir)))
}

// Discard deletes the journal folder of a data directory, durably.
func Discard(fsys vfs.FS, dir string) error {
	if err := fsys.RemoveAll(filepath.Join(dir, Folder)); err != nil {
		return fmt.Errorf("removing the journal folder of %s: %w", dir, err)
	}
	return fsys.SyncDir(dir)
}

func fileName(number int) string {
	s := strconv.Itoa(number)
	return "00000000"[:max(8-len(s), 0)] + s + fileSuffix
}
