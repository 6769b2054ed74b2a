package idempotence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// The snapshot file `<20-digit end offset>.snapshot` (big endian):
//
//	int16 version 1 | uint32 CRC-32C of all that follows | int32 count, then for each producer
//	int64 producer id | int16 epoch | int32 last sequence | int64 last offset | int32 offset delta
//	int64 timestamp | int32 coordinator epoch | int64 first offset of the open transaction, -1 none
//
// Of a producer's batches only the newest is kept; completed transactions that are not replicated are not
// kept at all: a snapshot is loaded only with the log below the high watermark, or followed by replay.
const (
	snapshotVersion = 1
	snapshotHeader  = 2 + 4 + 4
	snapshotEntry   = 46
)

// ErrCorruptSnapshot says that the bytes are not a whole snapshot of version 1: drop the file and rebuild
// from an older one or from the log.
var ErrCorruptSnapshot = errors.New("producer snapshot is corrupt")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SnapshotSize is the size of the snapshot in bytes.
func (t *Table) SnapshotSize() int { return snapshotHeader + snapshotEntry*len(t.producers) }

// AppendSnapshot appends the snapshot to dst.
func (t *Table) AppendSnapshot(dst []byte) []byte {
	dst = slices.Grow(dst, t.SnapshotSize())
	start := len(dst)
	be := binary.BigEndian
	dst = be.AppendUint16(dst, snapshotVersion)
	dst = be.AppendUint32(dst, 0)
	dst = be.AppendUint32(dst, 0)
	for i := range t.producers {
		p := &t.producers[i]
		last := batch{lastOffset: noOffset, lastSequence: p.lastSequence()}
		if p.count > 0 {
			last = p.batches[p.count-1]
		}
		dst = be.AppendUint64(dst, uint64(p.id))
		dst = be.AppendUint16(dst, uint16(p.epoch))
		dst = be.AppendUint32(dst, uint32(last.lastSequence))
		dst = be.AppendUint64(dst, uint64(last.lastOffset))
		dst = be.AppendUint32(dst, uint32(last.offsetDelta))
		dst = be.AppendUint64(dst, uint64(p.lastTimestamp))
		dst = be.AppendUint32(dst, uint32(p.coordinatorEpoch))
		dst = be.AppendUint64(dst, uint64(p.txnFirst))
	}
	sealSnapshot(dst[start:], len(t.producers))
	return dst
}

// sealSnapshot sets count and CRC of a whole snapshot.
func sealSnapshot(b []byte, count int) {
	binary.BigEndian.PutUint32(b[6:], uint32(count))
	binary.BigEndian.PutUint32(b[2:], crc32.Checksum(b[6:], castagnoli))
}

// Restore replaces the table's state by that of a snapshot taken at offset end. On an error, which is an
// ErrCorruptSnapshot, the table is left empty at end. Expired producers are the caller's to Expire.
func (t *Table) Restore(snapshot []byte, end int64) error {
	t.Reset(end)
	if len(snapshot) < snapshotHeader {
		return fmt.Errorf("%d bytes are less than a header: %w", len(snapshot), ErrCorruptSnapshot)
	}
	be := binary.BigEndian
	if version := int16(be.Uint16(snapshot)); version != snapshotVersion {
		return fmt.Errorf("unknown version %d: %w", version, ErrCorruptSnapshot)
	}
	if stored, computed := be.Uint32(snapshot[2:]), crc32.Checksum(snapshot[6:], castagnoli); stored != computed {
		return fmt.Errorf("CRC-32C is %08x, the bytes give %08x: %w", stored, computed, ErrCorruptSnapshot)
	}
	count := int64(int32(be.Uint32(snapshot[6:])))
	entries := snapshot[snapshotHeader:]
	if count < 0 || count*snapshotEntry != int64(len(entries)) {
		return fmt.Errorf("%d producers in %d bytes: %w", count, len(snapshot), ErrCorruptSnapshot)
	}
	t.producers = slices.Grow(t.producers, int(count))
	for ; len(entries) > 0; entries = entries[snapshotEntry:] {
		if err := t.restoreOne(entries[:snapshotEntry]); err != nil {
			t.Reset(end)
			return err
		}
	}
	return nil
}

func (t *Table) restoreOne(e []byte) error {
	be := binary.BigEndian
	id := int64(be.Uint64(e))
	if t.find(id) != nil {
		return fmt.Errorf("producer %d stands there twice: %w", id, ErrCorruptSnapshot)
	}
	p := t.findOrAdd(id)
	p.epoch = int16(be.Uint16(e[8:]))
	p.lastTimestamp = int64(be.Uint64(e[26:]))
	p.coordinatorEpoch = int32(be.Uint32(e[34:]))
	last := batch{
		lastSequence: int32(be.Uint32(e[10:])), lastOffset: int64(be.Uint64(e[14:])),
		offsetDelta: int32(be.Uint32(e[22:])), timestamp: p.lastTimestamp,
	}
	if last.lastOffset >= 0 {
		p.remember(last)
	}
	if first := int64(be.Uint64(e[38:])); first >= 0 {
		p.txnFirst = first
		insertTxn(&t.open, txn{producerID: id, first: first})
	}
	return nil
}
