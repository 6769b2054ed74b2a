package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync/atomic"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// Kafka's index entries, big endian, sorted:
//
//	.index      int32 last offset of a batch minus the base | int32 position of that batch
//	.timeindex  int64 greatest timestamp so far | int32 last offset of its batch minus the base
const (
	offsetEntryBytes = 8
	timeEntryBytes   = 12

	// flushIndexAfter is how many entries gather in memory before they go to the file.
	flushIndexAfter = 1024
)

// unknown marks a count that has to be read from the file.
const unknown = -1

// index is the two indexes of a segment: what has been written to the files, and the newest
// entries in memory. Entries are a help: a reader checks what they lead to.
type index struct {
	base    int64
	offsets handle
	times   handle
	near    atomic.Int32 // the entry of the .index file that a reader was led by last

	// Guarded by Log.mu. written… are entries in the files, unknown until they are counted.
	writtenOffsets, writtenTimes int
	newOffsets                   []offsetEntry
	newTimes                     []timeEntry
	lastTime                     int64 // timestamp of the last time entry
	lastTimeOffset               int64
	made                         bool // the files exist
	synced                       bool // they are complete and durable
}

type offsetEntry struct{ offset, pos int32 }

type timeEntry struct {
	ts     int64
	offset int32
}

// full tells whether no entry fits any more (segment.index.bytes).
func (x *index) full(c *LogConfig) bool {
	return (x.writtenOffsets+len(x.newOffsets))*offsetEntryBytes >= c.IndexBytes/offsetEntryBytes*offsetEntryBytes ||
		(x.writtenTimes+len(x.newTimes)+1)*timeEntryBytes >= c.IndexBytes/timeEntryBytes*timeEntryBytes
}

// add adds an entry for the batch that ends with offset last and begins at pos.
func (x *index) add(last, pos, maxTs, maxTsOffset int64) {
	x.newOffsets = append(x.newOffsets, offsetEntry{int32(last - x.base), int32(pos)})
	x.addTime(maxTs, maxTsOffset)
}

// addTime adds a time entry if it says something new, as Kafka's maybeAppend.
func (x *index) addTime(ts, offset int64) {
	if ts <= x.lastTime || ts == noTime || x.writtenTimes+len(x.newTimes) > 0 && offset < x.lastTimeOffset {
		return
	}
	x.newTimes = append(x.newTimes, timeEntry{ts, int32(offset - x.base)})
	x.lastTime, x.lastTimeOffset = ts, offset
}

// pending is what goes to the files: taken under the lock, written without.
type pendingIndex struct {
	offsets   []offsetEntry
	times     []timeEntry
	atOffsets int
	atTimes   int
}

// flush writes the entries, and makes the files if there are none. The caller holds Log.io.
func (x *index) flush(c *fileCache, p pendingIndex) error {
	b := make([]byte, 0, len(p.offsets)*offsetEntryBytes)
	for _, e := range p.offsets {
		b = binary.BigEndian.AppendUint32(b, uint32(e.offset))
		b = binary.BigEndian.AppendUint32(b, uint32(e.pos))
	}
	if err := writeHeld(c, &x.offsets, b, int64(p.atOffsets)*offsetEntryBytes); err != nil {
		return err
	}
	b = make([]byte, 0, len(p.times)*timeEntryBytes)
	for _, e := range p.times {
		b = binary.BigEndian.AppendUint64(b, uint64(e.ts))
		b = binary.BigEndian.AppendUint32(b, uint32(e.offset))
	}
	return writeHeld(c, &x.times, b, int64(p.atTimes)*timeEntryBytes)
}

// writeHeld writes to a file that may have to be opened.
func writeHeld(c *fileCache, h *handle, b []byte, at int64) error {
	f, err := c.hold(h)
	if err != nil {
		return fmt.Errorf("opening %s: %w", h.path, err)
	}
	defer h.release()
	if len(b) == 0 {
		return nil
	}
	if _, err := f.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing %s at %d: %w", h.path, at, err)
	}
	return nil
}

// countOffsets finds the valid entries of an .index file: up to the first that is not
// beyond its predecessor. A preallocated file ends in zeros.
func countOffsets(f vfs.File, size int64, segmentSize int64) (n int, last offsetEntry, err error) {
	n = int(size / offsetEntryBytes)
	var readErr error
	at := func(i int) offsetEntry {
		e, err := readOffsetEntry(f, i)
		if err != nil {
			readErr = err
		}
		return e
	}
	// Valid entries have a position above 0 or are the first; zeros come behind.
	n = sort.Search(n, func(i int) bool {
		e := at(i)
		return i > 0 && (e.offset == 0 || e.pos == 0)
	})
	for n > 0 {
		last = at(n - 1)
		if last.offset >= 0 && last.pos >= 0 && int64(last.pos) < segmentSize && (n > 1 || last != offsetEntry{}) {
			break
		}
		n--
	}
	if n == 0 {
		last = offsetEntry{}
	}
	return n, last, readErr
}

// countTimes finds the valid entries of a .timeindex file.
func countTimes(f vfs.File, size int64) (n int, last timeEntry, err error) {
	var readErr error
	at := func(i int) timeEntry {
		e, err := readTimeEntry(f, i)
		if err != nil {
			readErr = err
		}
		return e
	}
	n = sort.Search(int(size/timeEntryBytes), func(i int) bool { return at(i).ts <= 0 && i > 0 })
	if n > 0 {
		last = at(n - 1)
		if n == 1 && last == (timeEntry{}) {
			n = 0
		}
	}
	return n, last, readErr
}

func readOffsetEntry(f vfs.File, i int) (offsetEntry, error) {
	var b [offsetEntryBytes]byte
	if _, err := f.ReadAt(b[:], int64(i)*offsetEntryBytes); err != nil && !errors.Is(err, io.EOF) {
		return offsetEntry{}, err
	}
	return offsetEntryAt(b[:], 0), nil
}

func readTimeEntry(f vfs.File, i int) (timeEntry, error) {
	var b [timeEntryBytes]byte
	if _, err := f.ReadAt(b[:], int64(i)*timeEntryBytes); err != nil && !errors.Is(err, io.EOF) {
		return timeEntry{}, err
	}
	return timeEntry{int64(binary.BigEndian.Uint64(b[:])), int32(binary.BigEndian.Uint32(b[8:]))}, nil
}

// entryBlock is how many entries of an .index file a search reads at once.
const entryBlock = peekBytes / offsetEntryBytes

// searchOffsets gives the last of the first n entries of the file whose offset is at most rel, and which one it is. It looks
// first from entry near on: who reads a log goes forward, and finds the next entry with one read.
func searchOffsets(f vfs.File, n int, rel int64, near int) (found offsetEntry, at int, err error) {
	buf := peekPool.Get().(*[peekBytes]byte)
	defer peekPool.Put(buf)
	low, high := 0, n // all before low are at most rel, all from high on are not
	for from := min(near, n-1); low < high; from = low + max(high-low-entryBlock, 0)/2 {
		count := min(entryBlock, high-from)
		b := buf[:count*offsetEntryBytes]
		k, err := f.ReadAt(b, int64(from)*offsetEntryBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return offsetEntry{}, 0, err
		}
		clear(b[k:])
		i := sort.Search(count, func(i int) bool { return int64(offsetEntryAt(b, i).offset) > rel })
		if i > 0 {
			found, at = offsetEntryAt(b, i-1), from+i-1
			low = from + i
		}
		if i < count {
			high = from + i
		}
	}
	return found, at, nil
}

func offsetEntryAt(b []byte, i int) offsetEntry {
	b = b[i*offsetEntryBytes:]
	return offsetEntry{int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:]))}
}

// searchTimes gives the last of the first n entries of the file whose timestamp is at most ts.
func searchTimes(f vfs.File, n int, ts int64) (timeEntry, bool, error) {
	var readErr error
	var found timeEntry
	var ok bool
	sort.Search(n, func(i int) bool {
		e, err := readTimeEntry(f, i)
		if err != nil {
			readErr = err
		}
		if e.ts > ts {
			return true
		}
		if !ok || e.offset >= found.offset {
			found, ok = e, true
		}
		return false
	})
	return found, ok, readErr
}
