package commitlog

import (
	"path/filepath"
	"strconv"
)

// Suffixes of the files of a partition directory; all but the last are named by a 20 digit offset.
const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	txnIndexSuffix  = ".txnindex"
	snapshotSuffix  = ".snapshot"
	deletedSuffix   = ".deleted"
	cleanedSuffix   = ".cleaned"
	swapSuffix      = ".swap"
	epochsFile      = "leader-epoch-checkpoint"
	metadataFile    = "partition.metadata"
)

// offsetDigits is the width of offsets in file names.
const offsetDigits = 20

// noTime says that no batch with a timestamp was seen.
const noTime int64 = -1

// segment is one file of a log, from its base offset on.
type segment struct {
	base int64
	log  handle
	idx  index

	// Guarded by Log.mu.

	// size is where the next batch goes. Below flushed the bytes are in the file, above in the log's tail.
	size, flushed int64
	// firstTs is the max timestamp of the first batch, which time based rolling goes by.
	firstTs int64
	// maxTs and maxTsOffset are the greatest timestamp and the last offset of the batch that has it.
	maxTs, maxTsOffset int64
	// sinceIndex counts the bytes since the last index entry.
	sinceIndex int64
	// createdMs is when it became the active segment.
	createdMs int64
	// verified is what need not be checked before it is read.
	verified verified
	// timesKnown says that maxTs is known; for old segments it is read when somebody asks.
	timesKnown bool
	// dirty says that the file has bytes which are not synced: the handle is held.
	dirty bool
	// named says that the file's name is durable.
	named bool
	// aborts is whether there is a transaction index: maybeAborts, noAborts or someAborts.
	aborts int8
	// swapping says that the segment is taking its predecessors' place: until its files have their names, its transaction index is
	// txns.
	swapping bool
	txns     []AbortedTxn
}

func newSegment(dir string, base, nowMs int64) *segment {
	s := &segment{base: base, firstTs: noTime, maxTs: noTime, maxTsOffset: base, createdMs: nowMs, timesKnown: true}
	s.setPaths(dir)
	return s
}

func (s *segment) setPaths(dir string) {
	name := filepath.Join(dir, offsetName(s.base))
	s.log.path = name + logSuffix
	s.idx.offsets.path = name + indexSuffix
	s.idx.times.path = name + timeIndexSuffix
	s.idx.base = s.base
}

// offsetName is an offset as file names have it.
func offsetName(offset int64) string {
	digits := strconv.FormatInt(offset, 10)
	return "00000000000000000000"[:max(offsetDigits-len(digits), 0)] + digits
}

// parseName splits a file name into its offset and what follows.
func parseName(name string) (offset int64, suffix string, ok bool) {
	if len(name) <= offsetDigits || name[offsetDigits] != '.' {
		return 0, "", false
	}
	offset, err := strconv.ParseInt(name[:offsetDigits], 10, 64)
	return offset, name[offsetDigits:], err == nil && offset >= 0
}

// segmentPlan is what rolling goes by.
type segmentPlan struct {
	base, size, firstTs, createdMs int64
	jitterMs                       int64 // how much earlier it is closed by time
}

// batchPlace is what a segment has to know of what goes to its end.
type batchPlace struct {
	last  int64 // last offset
	maxTs int64
	size  int64
}

// full tells whether b must go to a new segment, as Kafka's LogSegment.shouldRoll does.
func (s *segmentPlan) full(b batchPlace, c *LogConfig, store *Store) bool {
	if s.size == 0 {
		return false
	}
	if s.size+b.size > c.SegmentBytes || b.last-s.base > maxRelativeOffset {
		return true
	}
	waited := b.maxTs - s.firstTs
	if s.firstTs == noTime {
		waited = store.nowMs() - s.createdMs
	}
	return waited > c.maxSegmentMs()-s.jitterMs
}

// extend accounts for a batch that is placed at the end.
func (s *segment) extend(b batchPlace, c *LogConfig) {
	if s.size == 0 || s.firstTs == noTime {
		s.firstTs = b.maxTs
	}
	if b.maxTs > s.maxTs {
		s.maxTs, s.maxTsOffset = b.maxTs, b.last
	}
	if s.sinceIndex > c.IndexIntervalBytes {
		s.idx.add(b.last, s.size, s.maxTs, s.maxTsOffset)
		s.sinceIndex = 0
	}
	s.size += b.size
	s.sinceIndex += b.size
}

// maxRelativeOffset is what the int32 of an index entry holds.
const maxRelativeOffset = 1<<31 - 1

// segmentMark is what extend changes, to be restored when the bytes cannot be written.
type segmentMark struct {
	size, firstTs, maxTs, maxTsOffset, sinceIndex int64
	offsets, times                                int
	lastTime, lastTimeOffset                      int64
}

func (s *segment) mark() segmentMark {
	return segmentMark{
		s.size, s.firstTs, s.maxTs, s.maxTsOffset, s.sinceIndex,
		len(s.idx.newOffsets), len(s.idx.newTimes), s.idx.lastTime, s.idx.lastTimeOffset,
	}
}

func (s *segment) restore(m segmentMark) {
	s.size, s.firstTs, s.maxTs, s.maxTsOffset, s.sinceIndex = m.size, m.firstTs, m.maxTs, m.maxTsOffset, m.sinceIndex
	s.idx.newOffsets, s.idx.newTimes = s.idx.newOffsets[:m.offsets], s.idx.newTimes[:m.times]
	s.idx.lastTime, s.idx.lastTimeOffset = m.lastTime, m.lastTimeOffset
}
