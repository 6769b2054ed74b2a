package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// AbortedTxn is an entry of a transaction index: a transaction of the producer was aborted by the
// marker at LastOffset; LastStableOffset was then the first offset of a transaction still open.
//
// In the .txnindex file, big endian: int16 version 0 | int64 producer id | int64 first offset | int64 last
// offset | int64 last stable offset.
type AbortedTxn struct {
	ProducerID, FirstOffset, LastOffset, LastStableOffset int64
}

const txnEntryBytes = 34

func appendTxn(b []byte, t *AbortedTxn) []byte {
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(t.ProducerID))
	b = binary.BigEndian.AppendUint64(b, uint64(t.FirstOffset))
	b = binary.BigEndian.AppendUint64(b, uint64(t.LastOffset))
	return binary.BigEndian.AppendUint64(b, uint64(t.LastStableOffset))
}

// parseTxns reads the content of the .txnindex file of the segment with that base offset, up to the first entry that cannot
// be one: those behind it are found again when the segment is recovered. A power cut can leave entries of which a part is
// missing, and not all of them can be told; see abortedTxns.
func parseTxns(b []byte, base int64) []AbortedTxn {
	var list []AbortedTxn
	for ; len(b) >= txnEntryBytes; b = b[txnEntryBytes:] {
		t := AbortedTxn{
			int64(binary.BigEndian.Uint64(b[2:])), int64(binary.BigEndian.Uint64(b[10:])),
			int64(binary.BigEndian.Uint64(b[18:])), int64(binary.BigEndian.Uint64(b[26:])),
		}
		if binary.BigEndian.Uint16(b) != 0 || t.ProducerID < 0 || t.FirstOffset < 0 || t.LastOffset <= t.FirstOffset || t.LastOffset < base ||
			len(list) > 0 && list[len(list)-1].LastOffset >= t.LastOffset {
			break
		}
		list = append(list, t)
	}
	return list
}

// maxTxnIndexBytes bounds what is read of one transaction index.
const maxTxnIndexBytes = 256 << 20

// AbortedTxns lists the aborted transactions that a reader of committed data in [from, to) has to
// know, as Kafka's UnifiedLog.collectAbortedTransactions does.
func (l *Log) AbortedTxns(from, to int64) ([]AbortedTxn, error) {
	for range maxReplaced {
		list, swaps, err := l.abortedTxns(from, to)
		l.mu.Lock()
		same := swaps == l.clean.swaps
		l.mu.Unlock()
		if same {
			return list, err
		}
	}
	return nil, fmt.Errorf("reading the aborted transactions of %s-%d: %w", l.topic, l.partition, errReplaced)
}

// txnSource is where a segment's aborted transactions are.
type txnSource struct {
	path string
	base int64
	list []AbortedTxn // if the file is still to get its name
}

// abortedTxns is AbortedTxns; it is to be done again if segments were replaced since, whose number it gives.
func (l *Log) abortedTxns(from, to int64) (list []AbortedTxn, swaps uint64, err error) {
	l.mu.Lock()
	var sources []txnSource
	for _, s := range l.segs[l.segmentOf(from):] {
		switch {
		case s.swapping:
			sources = append(sources, txnSource{list: s.txns})
		case s.aborts != noAborts:
			sources = append(sources, txnSource{path: s.txnPath(), base: s.base})
		}
	}
	recent := append([]AbortedTxn(nil), l.aborted...)
	swaps = l.clean.swaps
	l.mu.Unlock()
	done := false
	add := func(txns []AbortedTxn) {
		for _, t := range txns {
			if done {
				return
			}
			if t.LastOffset >= from && t.FirstOffset < to {
				list = append(list, t)
			}
			done = t.LastStableOffset >= to
		}
	}
	for _, source := range sources {
		if done {
			return list, swaps, nil
		}
		txns := source.list
		if source.path != "" {
			if txns, err = readTxns(l.store.fs, source.path, source.base); err != nil {
				return nil, swaps, err
			}
		}
		add(until(txns, recent))
	}
	add(recent)
	return list, swaps, nil
}

// until gives the entries of a file that come before recent ones. From those on nothing of the file counts: it has
// reached it meanwhile, or was being written there when the power was cut and was found again.
func until(txns, recent []AbortedTxn) []AbortedTxn {
	if len(recent) == 0 {
		return txns
	}
	n := len(txns)
	for n > 0 && txns[n-1].LastOffset >= recent[0].LastOffset {
		n--
	}
	return txns[:n]
}

// readTxns reads the .txnindex file of the segment with that base offset; a missing one has no entries.
func readTxns(fsys vfs.FS, path string, base int64) ([]AbortedTxn, error) {
	b, err := vfs.ReadFile(fsys, path, maxTxnIndexBytes)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading transaction index %s: %w", path, err)
	}
	return parseTxns(b, base), nil
}

// writeTxns writes entries to the .txnindex file of the segment with that base offset, behind those that come before the
// first of them, and durably: entries are few. The caller holds Log.io.
func writeTxns(fsys vfs.FS, path string, base int64, txns []AbortedTxn) error {
	f, err := fsys.Edit(path)
	if err != nil {
		return fmt.Errorf("opening transaction index %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // synced before
	size, err := f.Size()
	if err != nil {
		return err
	}
	have := make([]byte, size)
	if _, err := f.ReadAt(have, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading transaction index %s: %w", path, err)
	}
	valid := until(parseTxns(have, base), txns)
	var b []byte
	for i := range txns {
		b = appendTxn(b, &txns[i])
	}
	at := int64(len(valid)) * txnEntryBytes
	if _, err := f.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing transaction index %s: %w", path, err)
	}
	if err := f.Truncate(at + int64(len(b))); err != nil {
		return fmt.Errorf("trimming transaction index %s: %w", path, err)
	}
	return f.Sync()
}

// What is known of a segment's transaction index.
const (
	maybeAborts = iota // nobody has looked
	noAborts
	someAborts
)

func (s *segment) txnPath() string {
	path := s.log.path
	return path[:len(path)-len(logSuffix)] + txnIndexSuffix
}
