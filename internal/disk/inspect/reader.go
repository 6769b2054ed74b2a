package inspect

import (
	"errors"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

const (
	// windowBytes is how much is read at once.
	windowBytes = 256 << 10
	// maxEntryBytes bounds the memory for one batch. Kafka's own bound (max.message.bytes) is 1 MiB unless somebody raises it.
	maxEntryBytes = 256 << 20
)

// reader reads a file of record batches from front to end.
type reader struct {
	file vfs.File
	size int64
	// pos is where the present entry begins.
	pos int64

	window    []byte
	windowPos int64
	body      []byte // of entries larger than the window
}

func newReader(fsys vfs.FS, path string) (*reader, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("asking for the size of %s: %w", path, err), f.Close())
	}
	return &reader{file: f, size: size}, nil
}

func (r *reader) close() { _ = r.file.Close() } // it was only read

// bytes gives n bytes at pos, or what there is of them; valid until the next call.
func (r *reader) bytes(pos int64, n int) ([]byte, error) {
	n = int(min(int64(n), r.size-pos))
	if n <= 0 {
		return nil, nil
	}
	if pos >= r.windowPos && pos+int64(n) <= r.windowPos+int64(len(r.window)) {
		at := pos - r.windowPos
		return r.window[at : at+int64(n)], nil
	}
	if n > windowBytes {
		if cap(r.body) < n {
			r.body = make([]byte, n)
		}
		return r.read(r.body[:n], pos)
	}
	if r.window == nil {
		r.window = make([]byte, windowBytes)
	}
	got, err := r.read(r.window[:min(windowBytes, r.size-pos)], pos)
	r.window, r.windowPos = got, pos
	return r.window[:min(n, len(got))], err
}

// read fills b from pos; a file that has become shorter gives less.
func (r *reader) read(b []byte, pos int64) ([]byte, error) {
	got, err := r.file.ReadCold(b, pos)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:got], err
}

// head reads the head of the entry at pos. The error is io.EOF at the end, a *record.Error or
// record.ErrShort for bytes that no whole entry begins with, else one of the disk.
func (r *reader) head() (record.EntryInfo, error) {
	return r.headAt(r.pos)
}

func (r *reader) headAt(pos int64) (record.EntryInfo, error) {
	if pos >= r.size {
		return record.EntryInfo{}, io.EOF
	}
	b, err := r.bytes(pos, record.PeekSize)
	if err != nil {
		return record.EntryInfo{}, err
	}
	e, err := record.PeekHeader(b)
	if err == nil && int64(e.Size) > r.size-pos {
		return e, record.ErrShort
	}
	return e, err
}

// entry gives all bytes of the entry at pos.
func (r *reader) entry(pos int64, e *record.EntryInfo) ([]byte, error) {
	if e.Size > maxEntryBytes {
		return nil, fmt.Errorf("a batch of %d bytes is more than the %d that are looked at", e.Size, maxEntryBytes)
	}
	return r.bytes(pos, e.Size)
}

// resync finds the next whole entry of format 2 behind pos whose base offset is at least next. ok is false when there is none.
func (r *reader) resync(pos, next int64) (at int64, ok bool, err error) {
	for at = pos + 1; at+record.HeaderSize <= r.size; at++ {
		b, err := r.bytes(at, record.PeekSize)
		if err != nil {
			return 0, false, err
		}
		if len(b) < record.PeekSize || b[16] != 2 {
			continue
		}
		e, err := record.PeekHeader(b)
		if err != nil || int64(e.Size) > r.size-at || e.Size > maxEntryBytes || e.BaseOffset < next {
			continue
		}
		whole, err := r.entry(at, &e)
		if err != nil {
			return 0, false, err
		}
		if record.CheckEntry(whole) == nil {
			return at, true, nil
		}
	}
	return 0, false, nil
}

// isDamage tells bytes that are wrong from a disk that does not give them.
func isDamage(err error) bool {
	var bad *record.Error
	return errors.As(err, &bad) || errors.Is(err, record.ErrShort)
}
