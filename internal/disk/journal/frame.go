package journal

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/moldau/moldau/internal/format/record"
)

const (
	// page is what frames and headers are aligned to: at least what a disk writes as a whole.
	page = 4096

	fileMagic   = 0x4d4a4c31 // "MJL1"
	frameMagic  = 0x4d4a4631 // "MJF1"
	fileVersion = 1

	fileHeaderBytes  = 28
	frameHeaderBytes = 48
	entryBytes       = 64

	// MaxEntries bounds the entries of one frame.
	MaxEntries = 1 << 16
	// MaxPayloadBytes bounds the payload of one frame.
	MaxPayloadBytes = 64 << 20

	// copyBelow is the payload size under which copying into the frame is cheaper than one more I/O vector.
	copyBelow = 1 << 10
	// maxStage bounds the copied payloads of one frame.
	maxStage = 256 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kind says what an entry means.
type Kind uint8

// The kinds of entries.
const (
	// Data carries the batches of [Base, End).
	Data Kind = iota + 1
	// Mark says that all below End was acknowledged and is durable in the segments.
	Mark
	// TruncateBegin says that the partition is being cut to End; TruncateDone that it has been.
	TruncateBegin
	TruncateDone
	// Reset says that the partition starts anew: entries before this one belong to a deleted directory.
	Reset
)

// Entry is one partition's part of a frame.
type Entry struct {
	Kind        Kind
	Topic       [16]byte
	Partition   int32
	Base, End   int64
	LeaderEpoch int32
	// Bytes is the size of the payload.
	Bytes int
	// Check is the CRC-32C over the headers of the payload's batches; see [CheckHeads].
	Check uint32
}

// CheckHeads adds the header of one batch of format 2 to an entry's check, which starts at 0.
func CheckHeads(check uint32, batch []byte) uint32 {
	return crc32.Update(check, castagnoli, batch[:record.HeaderSize])
}

func (e *Entry) put(b []byte) {
	clear(b[:entryBytes])
	copy(b, e.Topic[:])
	binary.BigEndian.PutUint32(b[16:], uint32(e.Partition))
	b[20] = byte(e.Kind)
	binary.BigEndian.PutUint64(b[24:], uint64(e.Base))
	binary.BigEndian.PutUint64(b[32:], uint64(e.End))
	binary.BigEndian.PutUint32(b[40:], uint32(e.LeaderEpoch))
	binary.BigEndian.PutUint32(b[44:], uint32(e.Bytes))
	binary.BigEndian.PutUint32(b[48:], e.Check)
}

func (e *Entry) get(b []byte) {
	copy(e.Topic[:], b)
	e.Partition = int32(binary.BigEndian.Uint32(b[16:]))
	e.Kind = Kind(b[20])
	e.Base = int64(binary.BigEndian.Uint64(b[24:]))
	e.End = int64(binary.BigEndian.Uint64(b[32:]))
	e.LeaderEpoch = int32(binary.BigEndian.Uint32(b[40:]))
	e.Bytes = int(binary.BigEndian.Uint32(b[44:]))
	e.Check = binary.BigEndian.Uint32(b[48:])
}

// Frame gathers what one group commit writes. It keeps references to the
// payloads until Reset; small ones are copied. The zero value is an empty frame.
type Frame struct {
	head     []byte
	stage    []byte
	payloads [][]byte
	open     int // where in stage the run begins that is not in payloads yet
	entries  int
	bytes    int
}

// Reset empties the frame and drops its references.
func (f *Frame) Reset() {
	clear(f.payloads)
	f.head, f.stage, f.payloads = f.head[:0], f.stage[:0], f.payloads[:0]
	f.open, f.entries, f.bytes = 0, 0, 0
}

// Entries is the number of entries added.
func (f *Frame) Entries() int { return f.entries }

// Payload adds bytes that the next [Frame.Add] accounts for.
func (f *Frame) Payload(p []byte) {
	f.bytes += len(p)
	if len(p) < copyBelow && len(f.stage)+len(p) <= maxStage {
		if cap(f.stage) == 0 {
			f.stage = make([]byte, 0, maxStage)
		}
		f.stage = append(f.stage, p...)
		return
	}
	f.closeRun()
	f.payloads = append(f.payloads, p)
}

// closeRun turns the copied payloads since the last one into a vector. stage never moves: its capacity is fixed.
func (f *Frame) closeRun() {
	if len(f.stage) > f.open {
		f.payloads = append(f.payloads, f.stage[f.open:len(f.stage):len(f.stage)])
		f.open = len(f.stage)
	}
}

// Add adds an entry whose e.Bytes of payload were added since the last one.
func (f *Frame) Add(e *Entry) {
	if len(f.head) == 0 {
		f.head = append(f.head, make([]byte, frameHeaderBytes)...)
	}
	at := len(f.head)
	f.head = append(f.head, make([]byte, entryBytes)...)
	e.put(f.head[at:])
	f.entries++
}

// size is the number of bytes on disk without the padding behind.
func (f *Frame) size() int64 { return int64(len(f.head) + f.bytes) }

// seal fills in the header.
func (f *Frame) seal(epoch, sequence, synced uint64) {
	f.closeRun()
	h := f.head
	binary.BigEndian.PutUint32(h, frameMagic)
	binary.BigEndian.PutUint64(h[8:], epoch)
	binary.BigEndian.PutUint64(h[16:], sequence)
	binary.BigEndian.PutUint64(h[24:], synced)
	binary.BigEndian.PutUint32(h[32:], uint32(f.entries))
	binary.BigEndian.PutUint32(h[36:], 0)
	binary.BigEndian.PutUint64(h[40:], uint64(f.bytes))
	binary.BigEndian.PutUint32(h[4:], crc32.Checksum(h[8:], castagnoli))
}

// frameHeader is the decoded head of a frame.
type frameHeader struct {
	epoch, sequence, synced uint64
	entries                 int
	payload                 int64
}

// headBytes is the size of header and entries.
func (h *frameHeader) headBytes() int64 { return frameHeaderBytes + int64(h.entries)*entryBytes }

// parseHeader reads the fixed part of a frame, whose CRC is checked later; ok is
// false when no frame begins like this.
func parseHeader(b []byte) (h frameHeader, ok bool) {
	if len(b) < frameHeaderBytes || binary.BigEndian.Uint32(b) != frameMagic {
		return h, false
	}
	h.epoch = binary.BigEndian.Uint64(b[8:])
	h.sequence = binary.BigEndian.Uint64(b[16:])
	h.synced = binary.BigEndian.Uint64(b[24:])
	h.entries = int(binary.BigEndian.Uint32(b[32:]))
	payload := binary.BigEndian.Uint64(b[40:])
	if h.entries == 0 || h.entries > MaxEntries || payload > MaxPayloadBytes {
		return h, false
	}
	h.payload = int64(payload)
	return h, true
}

// parseEntries reads the entries of the frame whose whole head is b. ok is false
// when the CRC or the sum of the payloads is wrong.
func parseEntries(b []byte, h *frameHeader) (entries []Entry, ok bool) {
	if int64(len(b)) < h.headBytes() {
		return nil, false
	}
	b = b[:h.headBytes()]
	if crc32.Checksum(b[8:], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, false
	}
	entries = make([]Entry, h.entries)
	var sum int64
	for i := range entries {
		entries[i].get(b[frameHeaderBytes+i*entryBytes:])
		sum += int64(entries[i].Bytes)
	}
	return entries, sum == h.payload
}

// checkPayload tells whether p is the payload that e describes.
func checkPayload(e *Entry, p []byte) bool {
	if e.Kind != Data {
		return len(p) == 0
	}
	var check uint32
	offset := e.Base
	for len(p) > 0 {
		b, rest, err := record.Next(p)
		if err != nil || b.CheckCRC() != nil || b.BaseOffset() < offset || b.LastOffset() >= e.End {
			return false
		}
		check = CheckHeads(check, b)
		offset, p = b.LastOffset()+1, rest
	}
	return check == e.Check && offset == e.End
}
