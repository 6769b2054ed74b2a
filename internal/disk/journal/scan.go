package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// maxFoundBytes bounds how large a journal file may claim to be.
const maxFoundBytes = 16 << 30

// Found is what a journal left behind holds.
type Found struct {
	// Exists says that there is a journal folder.
	Exists bool
	// Items are the entries of all valid frames, in the order they were written.
	Items []Item
	// Epoch is the last life's; Next is the sequence after the last valid frame.
	Epoch, Next uint64
	// Torn says where a frame was cut off by the crash; "" when none was.
	Torn string

	folder    string
	paths     []string
	maxNumber int
}

// Item is an entry and where its payload is.
type Item struct {
	Entry
	Path string
	Pos  int64
	// Damaged says that the payload is not what was written, although its frame was durable.
	Damaged bool
}

// CorruptError says that a frame which was durable cannot be read. Which
// partitions it belonged to is unknown.
type CorruptError struct {
	Path string
	Pos  int64
	Why  string
}

// Error names the file and the position.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("journal file %s is corrupt at position %d: %s", e.Path, e.Pos, e.Why)
}

// Scan reads the journal of a data directory. A torn end is cut; a [CorruptError] says that
// there is more damage than a crash does.
func Scan(fsys vfs.FS, dir string) (*Found, error) {
	folder := filepath.Join(dir, Folder)
	found := &Found{Next: 1}
	list, err := fsys.List(folder)
	if errors.Is(err, vfs.ErrNotExist) {
		return found, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the journal folder %s: %w", folder, err)
	}
	found.Exists, found.folder = true, folder
	var files []*scanned
	for _, e := range list {
		number, ok := fileNumber(e.Name)
		if !ok {
			continue
		}
		found.maxNumber = max(found.maxNumber, number)
		path := filepath.Join(folder, e.Name)
		found.paths = append(found.paths, path)
		s, err := openScanned(fsys, path)
		if err != nil {
			return nil, err
		}
		if s != nil {
			defer s.file.Close() //nolint:errcheck // read only
			files = append(files, s)
		}
	}
	sort.Slice(files, func(a, b int) bool {
		if files[a].first != files[b].first {
			return files[a].first < files[b].first
		}
		return files[a].epoch < files[b].epoch
	})
	for i, s := range files {
		if i == 0 {
			found.Next = s.first
		}
		if err := found.read(s); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Sync makes durable what Scan has found: the process that wrote it may have died before it did.
func (f *Found) Sync(fsys vfs.FS) error {
	for _, path := range f.paths {
		file, err := fsys.Edit(path)
		if err != nil {
			return fmt.Errorf("opening journal file %s: %w", path, err)
		}
		if err := errors.Join(file.Sync(), file.Close()); err != nil {
			return fmt.Errorf("syncing journal file %s: %w", path, err)
		}
	}
	if f.folder == "" {
		return nil
	}
	return errors.Join(fsys.SyncDir(f.folder), fsys.SyncDir(filepath.Dir(f.folder)))
}

func fileNumber(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, fileSuffix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0
}

// scanned is a file with a valid header.
type scanned struct {
	file  vfs.File
	path  string
	size  int64
	epoch uint64
	first uint64
	buf   []byte
}

// openScanned gives nil for a file that is free or whose header was never completed.
func openScanned(fsys vfs.FS, path string) (*scanned, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening journal file %s: %w", path, err)
	}
	size, err := f.Size()
	if err != nil || size > maxFoundBytes {
		return nil, errors.Join(fmt.Errorf("journal file %s has %d bytes", path, size), err, f.Close())
	}
	var h [fileHeaderBytes]byte
	if _, err := f.ReadAt(h[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("reading journal file %s: %w", path, err), f.Close())
	}
	if binary.BigEndian.Uint32(h[:]) != fileMagic || crc32.Checksum(h[8:], castagnoli) != binary.BigEndian.Uint32(h[4:]) {
		return nil, f.Close()
	}
	if v := binary.BigEndian.Uint32(h[8:]); v != fileVersion {
		return nil, errors.Join(fmt.Errorf("journal file %s has version %d, this program reads version %d: start the newer program, and stop it cleanly", path, v, fileVersion), f.Close())
	}
	return &scanned{file: f, path: path, size: size, epoch: binary.BigEndian.Uint64(h[12:]), first: binary.BigEndian.Uint64(h[20:])}, nil
}

// frameState is how a place in a file reads.
type frameState int

const (
	noFrame  frameState = iota // nothing that a frame begins with, or an older frame
	badFrame                   // a frame whose head is right and whose payload is not
	goodFrame
)

// read adds the frames of one file.
func (f *Found) read(s *scanned) error {
	if s.first != f.Next {
		return &CorruptError{Path: s.path, Pos: page, Why: fmt.Sprintf("its first frame is %d, frame %d should follow", s.first, f.Next)}
	}
	f.Epoch = max(f.Epoch, s.epoch)
	for pos := int64(page); pos < s.size; {
		h, entries, state, err := s.frameAt(pos, f.Next)
		if err != nil {
			return err
		}
		if state != goodFrame {
			proof, err := s.provenLater(pos, f.Next)
			if err != nil {
				return err
			}
			switch {
			case !proof:
				if state == badFrame {
					f.Torn = fmt.Sprintf("%s at %d", s.path, pos)
				}
				return nil
			case state == noFrame:
				return &CorruptError{Path: s.path, Pos: pos, Why: fmt.Sprintf("the head of frame %d is damaged, which was durable", f.Next)}
			}
		}
		if err := f.add(s, pos+h.headBytes(), entries); err != nil {
			return err
		}
		f.Next++
		pos += (h.headBytes() + h.payload + page - 1) / page * page
	}
	return nil
}

// frameAt reads the frame with the given sequence at pos.
func (s *scanned) frameAt(pos int64, sequence uint64) (h frameHeader, entries []Entry, state frameState, err error) {
	head, err := s.read(pos, frameHeaderBytes)
	if err != nil {
		return h, nil, noFrame, err
	}
	h, ok := parseHeader(head)
	if !ok || h.epoch != s.epoch || h.sequence != sequence || pos+h.headBytes()+h.payload > s.size {
		return h, nil, noFrame, nil
	}
	head, err = s.read(pos, h.headBytes())
	if err != nil {
		return h, nil, noFrame, err
	}
	entries, ok = parseEntries(head, &h)
	if !ok {
		return h, nil, noFrame, nil
	}
	payload, err := s.read(pos+h.headBytes(), h.payload)
	if err != nil {
		return h, nil, noFrame, err
	}
	for i := range entries {
		e := &entries[i]
		if len(payload) < e.Bytes || !checkPayload(e, payload[:e.Bytes]) {
			return h, entries, badFrame, nil
		}
		payload = payload[e.Bytes:]
	}
	return h, entries, goodFrame, nil
}

// read fills the scratch buffer with n bytes from pos; what is beyond the end is cut.
func (s *scanned) read(pos, n int64) ([]byte, error) {
	n = max(min(n, s.size-pos), 0)
	if int64(cap(s.buf)) < n {
		s.buf = make([]byte, n)
	}
	b := s.buf[:n]
	if _, err := s.file.ReadAt(b, pos); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading journal file %s at %d: %w", s.path, pos, err)
	}
	return b, nil
}

// provenLater tells whether a frame behind pos proves that the frame with the given sequence was durable.
func (s *scanned) provenLater(pos int64, sequence uint64) (bool, error) {
	for pos += page; pos < s.size; pos += page {
		head, err := s.read(pos, frameHeaderBytes)
		if err != nil {
			return false, err
		}
		h, ok := parseHeader(head)
		if !ok || h.epoch != s.epoch || h.sequence <= sequence || h.synced < sequence {
			continue
		}
		if head, err = s.read(pos, h.headBytes()); err != nil {
			return false, err
		}
		if _, ok := parseEntries(head, &h); ok {
			return true, nil
		}
	}
	return false, nil
}

// add keeps the entries of a frame, and marks those whose payload is damaged.
func (f *Found) add(s *scanned, pos int64, entries []Entry) error {
	for i := range entries {
		p, err := s.read(pos, int64(entries[i].Bytes))
		if err != nil {
			return err
		}
		f.Items = append(f.Items, Item{Entry: entries[i], Path: s.path, Pos: pos, Damaged: !checkPayload(&entries[i], p)})
		pos += int64(entries[i].Bytes)
	}
	return nil
}
