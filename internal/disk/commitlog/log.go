package commitlog

import (
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/machine/idempotence"
)

// DirectBytes is how much a log must bring in one round to be written straight to its
// segment, past the journal. Below, one more file to sync costs more than writing the bytes twice.
const DirectBytes = 1 << 20

// Origin tells who appends.
type Origin uint8

// The origins.
const (
	// Client is a producer: sequences are checked in full.
	Client Origin = iota
	// Coordinator is the broker itself (markers, internal topics).
	Coordinator
	// Replica is a follower copying its leader: offsets and epochs are set already.
	Replica
)

// Append is one request of one log. The caller owns it until Done is called, and
// may use it again afterwards. Nothing is allocated per append.
type Append struct {
	// Records are whole batches of format 2, usually one, validated by record.Validate. Base offset and
	// leader epoch are stamped in place unless the origin is Replica. Not to be touched until Done.
	Records []byte
	// LeaderEpoch is the appending leader's.
	LeaderEpoch int32
	Origin      Origin
	// Guard is what BeginVerification gave for a transactional batch of a client.
	Guard idempotence.Guard
	// TransactionVersion is, for a transaction marker, what WriteTxnMarkers says.
	TransactionVersion int16
	// Done is called once, when the records are stable or were refused; no lock is held. It must not block.
	Done func(*Append)

	// BaseOffset and LastOffset are the assigned offsets, or those of the first copy of a Duplicate.
	BaseOffset, LastOffset int64
	// LogStart is the log's start offset.
	LogStart int64
	// Duplicate says that these very records were appended before.
	Duplicate bool
	// DuplicateTime is the greatest timestamp of a Duplicate's first copy, in ms.
	DuplicateTime int64
	// Err is why nothing was appended.
	Err error

	log   *Log
	next  *Append
	prev  int64 // the log's end before
	maxTs int64
	roll  bool // begins a new segment
	snap  []byte
}

// Log is one partition's log. All methods may be called from any goroutine.
//
// Locks, in the order in which they are taken: io, mu, and then those of the store.
// io is held while the log's files are written or change names, mu never across any I/O.
type Log struct {
	store     *Store
	topic     string
	partition int32
	topicID   [16]byte

	io          sync.Mutex // guards the log's files and what follows
	dir         string
	snapOffsets []int64 // of the producer snapshots on disk

	mu        sync.Mutex // guards what follows
	cfg       LogConfig
	segs      []*segment // by base offset; the last one is written to
	start     int64
	end       int64 // next offset to assign
	stable    int64
	hw        int64 // given by SetHighWatermark, -1: stable counts
	loadedHW  int64 // what replication-offset-checkpoint said at start
	epochs    epochCache
	producers idempotence.Table
	// aborted are transactions whose entries are not in a .txnindex file yet.
	aborted []AbortedTxn
	// plan is the active segment as it will be once all that is in flight has been written.
	plan segmentPlan
	// tail is what the segments lack.
	tailHead, tailLast *chunk
	tailBytes          int
	recoveryPoint      int64
	snapshotAt         int64              // offset of the newest producer snapshot
	snapshotBytes      int64              // appended since then
	snaps              []producerSnapshot // taken at rolls, not written yet
	onStable           func(bytes int64)
	err                error // why the log is closed or offline
	gone               bool  // deleted: its files belong to nobody
	touched            bool  // written to since Open
	inDirty            bool  // listed in Store.dirty
	inBehind           bool  // listed in Store.behind
	unsynced           bool  // has bytes that were acknowledged as written only
	savedPoint         int64 // the recovery point that the checkpoint file has

	// clean is what compaction knows of the log.
	clean cleanState

	// queue holds the appends of a log with Written durability; writing says that a goroutine is taking care of it.
	queueHead, queueLast *Append
	writing              bool
	// inFlight counts appends of each kind that are not done: the kind changes when the other has drained.
	inFlightSynced, inFlightWritten int

	// held is what a move needs of the log.
	held hold

	// nameless says that a power cut may take the log's directory.
	nameless atomic.Bool

	// round is the log's part in the commit that runs; it belongs to the committing goroutine.
	round logRound
}

// logRound is what one commit does for one log.
type logRound struct {
	head, last *Append
	bytes      int
	direct     bool
	failed     *Append // the first that cannot be kept
	err        error
	firstSeg   *segment // the first that was written directly
}

// TopicID is the topic's id, zero when the directory has none.
func (l *Log) TopicID() [16]byte { return l.topicID }

// Topic and Partition name the log.
func (l *Log) Topic() string { return l.topic }

// Partition is the partition's number.
func (l *Log) Partition() int32 { return l.partition }

// Dir is the log's directory.
func (l *Log) Dir() string {
	l.io.Lock()
	defer l.io.Unlock()
	return l.dir
}

// Start is the log start offset: the first that may be read.
func (l *Log) Start() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start
}

// End is the next offset to be assigned.
func (l *Log) End() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Stable is the offset below which everything is synced, or written for logs
// with Written durability.
func (l *Log) Stable() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stable
}

// Offsets are where a log begins and how far it may be read.
type Offsets struct {
	// Start, Stable and End are what the Log's methods of these names give, LastStable is LastStableOffset.
	Start, Stable, LastStable, End int64
}

// Offsets gives all of them as they are at one moment.
func (l *Log) Offsets() Offsets {
	l.mu.Lock()
	o := Offsets{Start: l.start, Stable: l.stable, LastStable: l.lastStable(), End: l.end}
	l.mu.Unlock()
	return o
}

// OnStable sets what is called, with no lock held, whenever Stable has moved, before
// the Done of the appends that moved it: by how many bytes.
func (l *Log) OnStable(f func(bytes int64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onStable = f
}

// SetHighWatermark tells the high watermark of a replicated partition: it is checkpointed,
// and retention does not pass it. Without it Stable counts.
func (l *Log) SetHighWatermark(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hw = offset
}

// highWatermark is what retention may not pass. The caller holds mu.
func (l *Log) highWatermark() int64 {
	if l.hw < 0 {
		return l.stable
	}
	return min(l.hw, l.stable)
}

// Err is why the log takes no appends, nil while it does.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Config is the present configuration.
func (l *Log) Config() LogConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cfg
}

// SetConfig changes the configuration; appends in flight keep the durability they began with.
func (l *Log) SetConfig(c LogConfig) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg = c.withDefaults()
}

// Size is the number of bytes in the log.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, s := range l.segs {
		n += s.size
	}
	return n
}

// EpochEnd answers OffsetForLeaderEpoch: the greatest epoch not above the one
// asked for and its end offset; -1, -1 when unknown.
func (l *Log) EpochEnd(epoch int32) (int32, int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.endOffset(epoch, l.end)
}

// LatestEpoch is the leader epoch of the last records, -1 when there is none.
func (l *Log) LatestEpoch() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.latest()
}

// active is the segment that is written to. The caller holds mu.
func (l *Log) active() *segment { return l.segs[len(l.segs)-1] }

// Append appends. It never waits for the disk, except in logs with Written
// durability, where it may write itself. What is refused at once is Done before it returns.
func (l *Log) Append(a *Append) {
	l.mu.Lock()
	if l.held.on {
		l.holdBack(a)
		l.mu.Unlock()
		return
	}
	l.append(a)
}

// append is Append, for a log that is not held. The caller holds mu, which is given up.
func (l *Log) append(a *Append) {
	if to := l.held.to; to != nil {
		l.mu.Unlock()
		to.Append(a)
		return
	}
	a.log, a.next, a.snap, a.roll = l, nil, nil, false
	a.Err, a.Duplicate = nil, false
	a.LogStart = l.start
	if err := l.accept(a); err != nil {
		l.mu.Unlock()
		a.BaseOffset, a.LastOffset, a.Err = -1, -1, err
		a.Done(a)
		return
	}
	if a.Duplicate && a.LastOffset < l.stable {
		l.mu.Unlock()
		a.Done(a)
		return
	}
	// The kind of durability changes only when nothing of the other kind is in flight.
	if l.inFlightWritten > 0 || l.cfg.Written && l.inFlightSynced == 0 {
		l.inFlightWritten++
		l.appendWritten(a)
		return
	}
	l.inFlightSynced++
	l.store.enqueue(a)
	l.mu.Unlock()
}

// accept checks the records and gives them their offsets. The caller holds mu.
func (l *Log) accept(a *Append) error {
	if l.err != nil {
		return l.err
	}
	if l.store.closing.Load() {
		return ErrClosed
	}
	if l.store.full.Load() {
		l.store.Figures.Refused.Add(1)
		return ErrNoSpace
	}
	first, _, err := record.Next(a.Records)
	if err != nil || first == nil {
		return fmt.Errorf("appending to %s-%d: %w", l.topic, l.partition, orEmpty(err))
	}
	if a.Origin != Replica {
		if done, err := l.checkProducer(a, first); err != nil || done {
			return err
		}
		if a.LeaderEpoch < l.epochs.latest() {
			return fmt.Errorf("appending to %s-%d with leader epoch %d: %w (%d)", l.topic, l.partition, a.LeaderEpoch, ErrStaleEpoch, l.epochs.latest())
		}
	}
	if err := l.stamp(a); err != nil {
		return err
	}
	l.place(a)
	return l.enter(a)
}

func orEmpty(err error) error {
	if err == nil {
		return record.ErrShort
	}
	return err
}

// stamp gives offsets and epoch to the batches, or checks those that a replica brings.
func (l *Log) stamp(a *Append) error {
	offset := l.end
	a.prev, a.maxTs = l.end, noTime
	rest := a.Records
	for i := 0; len(rest) > 0; i++ {
		b, next, err := record.Next(rest)
		if err != nil {
			return fmt.Errorf("appending to %s-%d: %w", l.topic, l.partition, err)
		}
		if a.Origin == Replica {
			if b.BaseOffset() < offset {
				return fmt.Errorf("appending a batch with base offset %d to %s-%d, which ends at %d: %w", b.BaseOffset(), l.topic, l.partition, offset, ErrUnexpectedOffset)
			}
		} else {
			b.SetBaseOffset(offset)
			b.SetLeaderEpoch(a.LeaderEpoch)
		}
		if i == 0 {
			a.BaseOffset = b.BaseOffset()
		}
		a.maxTs = max(a.maxTs, b.MaxTimestamp())
		offset = b.LastOffset() + 1
		rest = next
	}
	a.LastOffset = offset - 1
	return nil
}

// place decides whether the append begins a new segment. It is decided here, not when it is written,
// because the producer state that belongs to the boundary is at hand now.
func (l *Log) place(a *Append) {
	p := batchPlace{last: a.LastOffset, maxTs: a.maxTs, size: int64(len(a.Records))}
	s := l.active()
	if l.plan.full(p, &l.cfg, l.store) || l.plan.size > 0 && l.plan.base == s.base && s.idx.full(&l.cfg) {
		a.roll = true
		a.snap = l.producers.AppendSnapshot(nil)
		l.plan = segmentPlan{base: a.prev, firstTs: noTime, createdMs: l.store.nowMs(), jitterMs: drawJitter(&l.cfg, l.store.world)}
	}
	if l.plan.firstTs == noTime {
		l.plan.firstTs = a.maxTs
	}
	l.plan.size += p.size
}

// enter moves the log's end, epochs and producers past the append.
func (l *Log) enter(a *Append) error {
	rest := a.Records
	for len(rest) > 0 {
		b, next, err := record.Next(rest)
		if err != nil {
			return err // stamp has walked the same bytes
		}
		l.epochs.assign(b.LeaderEpoch(), b.BaseOffset())
		l.applyProducer(b)
		rest = next
	}
	l.end = a.LastOffset + 1
	return nil
}

// resetPlan makes the plan what the active segment is: nothing is in flight.
func (l *Log) resetPlan() {
	s := l.active()
	l.plan = segmentPlan{base: s.base, size: s.size, firstTs: s.firstTs, createdMs: s.createdMs, jitterMs: drawJitter(&l.cfg, l.store.world)}
}

// drawJitter draws how much earlier the next segment is closed by time, so that not all logs close theirs at once.
func drawJitter(c *LogConfig, r clock.Rand) int64 {
	most := min(c.SegmentJitterMs, c.SegmentMs)
	if most <= 0 {
		return 0
	}
	return int64(r.Uint64() % uint64(most))
}

// extend places the append at the end of the active segment. The caller holds mu.
func (l *Log) extend(s *segment, a *Append) {
	rest := a.Records
	for len(rest) > 0 {
		b, next, err := record.Next(rest)
		if err != nil {
			break // stamp has walked the same bytes
		}
		s.extend(batchPlace{last: b.LastOffset(), maxTs: b.MaxTimestamp(), size: int64(len(b))}, &l.cfg)
		rest = next
	}
	l.snapshotBytes += int64(len(a.Records))
}

// rollFor begins a new segment if the append was planned to. The caller holds mu.
func (l *Log) rollFor(a *Append) {
	if a.roll {
		l.rollTo(a.prev)
		l.snaps = append(l.snaps, producerSnapshot{a.prev, a.snap})
		l.snapshotBytes = 0
	}
}

// rollTo begins a new segment. Its file is created when it is first written. The caller holds mu.
func (l *Log) rollTo(base int64) {
	s := l.active()
	s.idx.addTime(s.maxTs, s.maxTsOffset)
	next := newSegment(l.dir, base, l.store.nowMs())
	l.segs = append(l.segs, next)
}

// openSegment gives the segment's file for writing and keeps it open until it is synced. The caller holds io.
func (l *Log) openSegment(s *segment) (vfs.File, error) {
	f, err := l.store.files.hold(&s.log)
	if err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", s.log.path, err)
	}
	l.mu.Lock()
	dirty := s.dirty
	s.dirty = true
	l.mu.Unlock()
	if dirty {
		s.log.release() // held once while it is dirty
	}
	return f, nil
}

// syncName makes the directory's names durable if the segment is new. The caller holds io.
func (l *Log) syncName(s *segment) error {
	l.mu.Lock()
	named := s.named
	l.mu.Unlock()
	if named {
		return nil
	}
	if err := l.store.fs.SyncDir(l.dir); err != nil {
		return final(fmt.Errorf("making the name of segment %s durable: %w", s.log.path, err))
	}
	l.mu.Lock()
	s.named = true
	l.mu.Unlock()
	return nil
}

// dirName is the name of a partition's directory.
func dirName(topic string, partition int32) string {
	return fmt.Sprintf("%s-%d", topic, partition)
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, name) }
