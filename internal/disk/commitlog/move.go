package commitlog

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/machine/idempotence"
)

// moveBytes is how much one Copy brings over at most, unless one batch is larger.
const moveBytes = 1 << 20

// errMoving keeps the store's housekeeping from a copy that is getting its name.
var errMoving = errors.New("the log is being moved")

// hold is what a log keeps while it gives itself to its copy.
type hold struct {
	on         bool // appends wait
	head, last *Append
	to         *Log // the log that took this one's place
}

// Move is a log on its way to another data directory of the node (KIP-113), while appends and reads go on.
//
// Copy brings records over in pieces, to a directory with Kafka's name for it (-future). When there is
// little left, Hold lets new appends wait, and once it is Settled, Finish copies the rest, makes the
// copy durable and gives it the partition's name; from then on the old log sends its callers to the new
// one. Retire takes the old directory away, durably, and only then Release lets the appends go on. So at every
// moment one complete copy has the partition's name, or two equal ones: then a start
// takes the one that reaches further. Abort gives up before Finish. The methods must not be called at the same time.
type Move struct {
	src, dst *Log
	buf      []byte
	limit    int
	finished bool
}

// FutureDirName is the name of the directory that a log is copied to, as Kafka builds it.
func FutureDirName(topic string, partition int32, id [16]byte) string {
	return fmt.Sprintf("%s-%d.%x%s", topic, partition, id, futureDirSuffix)
}

// MovableName tells whether the directories that a move needs can be named after the topic (Kafka: INVALID_TOPIC_EXCEPTION).
func MovableName(topic string, partition int32) bool {
	return len(FutureDirName(topic, partition, [16]byte{})) <= maxDirName
}

// MoveTo begins to move the log to another directory.
func (l *Log) MoveTo(to *Store) (*Move, error) {
	if err := to.usable(); err != nil {
		return nil, fmt.Errorf("moving %s-%d: %w", l.topic, l.partition, err)
	}
	l.mu.Lock()
	cfg, base, err := l.cfg, l.segs[l.segmentOf(l.start)].base, l.err
	l.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("moving %s-%d: %w", l.topic, l.partition, err)
	}
	d := to.newLog(l.topic, l.partition, l.topicID, cfg)
	d.dir = filepath.Join(to.dir, FutureDirName(l.topic, l.partition, clock.UUIDBits(to.world)))
	d.cfg.Written = true // past the journal; Finish syncs
	d.segs = []*segment{newSegment(d.dir, base, to.nowMs())}
	d.start, d.end, d.stable, d.recoveryPoint = base, base, base, base
	d.resetPlan()
	key := logKey{l.topic, l.partition}
	to.mu.Lock()
	_, taken := to.logs[key]
	_, moving := to.future[key]
	if !taken && !moving {
		to.future[key] = nil
	}
	to.mu.Unlock()
	if taken || moving {
		return nil, fmt.Errorf("moving %s-%d to %s: %w", l.topic, l.partition, to.dir, vfs.ErrExist)
	}
	l.pauseCleaning()
	m := &Move{src: l, dst: d, limit: int(min(max(cfg.SegmentBytes/4, 4<<10), moveBytes))}
	err = d.makeFutureDir()
	to.mu.Lock()
	if err == nil {
		to.future[key] = m
	} else {
		delete(to.future, key)
	}
	to.mu.Unlock()
	if err != nil {
		l.resumeCleaning()
		return nil, fmt.Errorf("moving %s-%d to %s: %w", l.topic, l.partition, to.dir, err)
	}
	return m, nil
}

// makeFutureDir makes the directory with the topic id.
func (l *Log) makeFutureDir() error {
	if err := l.store.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	if l.topicID == ([16]byte{}) {
		return nil
	}
	return vfs.WriteFileAtomic(l.store.fs, l.path(metadataFile), encodeTopicID(l.topicID))
}

// Future is a copy that a move is making, for DescribeLogDirs.
type Future struct {
	Topic     string
	Partition int32
	// Size is the copy's size in bytes, Lag the number of offsets that it is behind.
	Size, Lag int64
}

// Futures are the copies being made in this directory, in no order.
func (s *Store) Futures() []Future {
	var moves []*Move
	s.mu.RLock()
	for _, m := range s.future {
		if m != nil {
			moves = append(moves, m)
		}
	}
	s.mu.RUnlock()
	list := make([]Future, 0, len(moves))
	for _, m := range moves {
		list = append(list, Future{m.src.topic, m.src.partition, m.dst.Size(), max(m.src.End()-m.dst.End(), 0)})
	}
	return list
}

// Copy copies one piece; more is false when the copy has all that is stable.
func (m *Move) Copy() (more bool, err error) {
	src, dst := m.src, m.dst
	if err := m.usable(); err != nil {
		return false, err
	}
	from, stable := max(dst.End(), src.Start()), src.Stable()
	if from >= stable {
		return false, nil
	}
	v, err := src.Read(from, stable, m.limit, true)
	if err != nil {
		if errors.Is(err, ErrOffsetOutOfRange) && src.Start() > from {
			return true, nil // retention was faster
		}
		return false, m.wrap(err)
	}
	if v.Len == 0 {
		return false, nil
	}
	m.buf, err = v.Bytes(m.buf[:0])
	v.Release()
	if err != nil {
		return false, m.wrap(err)
	}
	batches, err := wholeBatches(m.buf)
	if err != nil {
		return false, m.wrap(err)
	}
	a := Append{Records: batches, Origin: Replica, Err: ErrClosed}
	done := false
	a.Done = func(*Append) { done = true }
	dst.Append(&a)
	if !done {
		return false, m.wrap(ErrClosed) // the store was abandoned
	}
	return true, m.wrap(a.Err)
}

// usable tells whether both directories can go on.
func (m *Move) usable() error {
	return m.wrap(errors.Join(m.src.store.usable(), m.dst.store.usable()))
}

func (m *Move) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("moving %s-%d from %s to %s: %w", m.src.topic, m.src.partition, m.src.store.dir, m.dst.store.dir, err)
}

// wholeBatches cuts off a batch that is not complete; there is at least one that is.
func wholeBatches(b []byte) ([]byte, error) {
	n := 0
	for rest := b; len(rest) > 0; {
		batch, next, err := record.Next(rest)
		if err != nil {
			if n == 0 {
				return nil, err
			}
			break
		}
		n += len(batch)
		rest = next
	}
	return b[:n], nil
}

// Sync makes durable what was copied so far, so that Finish has little to do.
func (m *Move) Sync() error { return m.wrap(m.dst.store.Checkpoint()) }

// Hold lets appends wait from now on, until Release.
func (m *Move) Hold() {
	l := m.src
	l.io.Lock() // no DeleteRecords and no retention is half way
	defer l.io.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held.on = true
}

// Settled tells whether all appends from before Hold are done.
func (m *Move) Settled() (bool, error) {
	l := m.src
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil && l.err != errRebuilding {
		return false, m.wrap(l.err)
	}
	return l.err == nil && l.end == l.stable && l.inFlightSynced == 0 && l.inFlightWritten == 0, nil
}

// Finish makes the copy the partition's log, durably, and returns it. The old log sends its callers there.
func (m *Move) Finish() (*Log, error) {
	for more := true; more; {
		var err error
		if more, err = m.Copy(); err != nil {
			return nil, err
		}
	}
	s, d := m.src.store, m.dst.store
	s.ckptMu.Lock() // neither directory is closed meanwhile
	defer s.ckptMu.Unlock()
	d.ckptMu.Lock()
	defer d.ckptMu.Unlock()
	if err := m.usable(); err != nil {
		return nil, err
	}
	err := m.complete()
	if err == nil {
		err = m.install()
	}
	if err != nil {
		if !errors.Is(err, ErrBusy) && !errors.Is(err, vfs.ErrExist) {
			d.noteDiskError(err)
		}
		return nil, m.wrap(err)
	}
	m.handOver()
	m.finished = true
	return m.dst, nil
}

// complete gives the copy what is no batch, and makes all of it durable.
func (m *Move) complete() error {
	src, dst := m.src, m.dst
	src.mu.Lock()
	ok := src.err == nil && src.end == src.stable && src.held.on
	start, end, cfg := src.start, src.end, src.cfg
	epochs := slices.Clone(src.epochs.list)
	producers := src.producers.AppendSnapshot(nil)
	src.mu.Unlock()
	if !ok {
		return ErrBusy
	}
	if err := dst.become(start, end, cfg, epochs, producers); err != nil {
		return err
	}
	if err := dst.store.checkpointLogs([]*Log{dst}); err != nil {
		return err
	}
	return dst.closeFiles()
}

// become makes the copy the same log as the one with these properties.
func (l *Log) become(start, end int64, cfg LogConfig, epochs []epochStart, producers []byte) error {
	l.store.noteDirty(l, false)
	l.io.Lock()
	defer l.io.Unlock()
	l.mu.Lock()
	if l.end < end {
		l.rollTo(end) // there is nothing below, but the end is there
		l.end, l.stable = end, end
		l.resetPlan()
	}
	l.start, l.cfg = max(start, l.start), cfg
	l.epochs = epochCache{list: epochs, dirty: true}
	l.snaps = append(l.snaps, producerSnapshot{end, producers})
	l.snapshotBytes = 0
	active := l.active()
	l.mu.Unlock()
	if _, err := l.openSegment(active); err != nil {
		return err
	}
	for len(l.segs) > 1 && l.segs[1].base <= start {
		gone := l.segs[0]
		l.mu.Lock()
		l.segs = l.segs[1:]
		l.mu.Unlock()
		if err := l.removeFiles(gone); err != nil {
			return err
		}
	}
	return nil
}

// install gives the copy's directory the partition's name.
func (m *Move) install() error {
	dst := m.dst
	d := dst.store
	key := logKey{dst.topic, dst.partition}
	dst.mu.Lock()
	dst.err = errMoving
	dst.mu.Unlock()
	d.mu.Lock()
	_, taken := d.logs[key]
	if !taken {
		d.logs[key] = dst
		delete(d.departed, key)
	}
	d.mu.Unlock()
	if taken {
		return vfs.ErrExist
	}
	// What the checkpoints say of the log must be there before its name is.
	err := d.writeOffsets()
	if err == nil {
		err = m.rename()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.logs, key)
		d.departed[key] = true
		return err
	}
	delete(d.future, key)
	return nil
}

// rename is the moment of the move. What the journal has of an earlier stay of the partition must not come back.
func (m *Move) rename() error {
	dst := m.dst
	d := dst.store
	d.roundMu.Lock()
	defer d.roundMu.Unlock()
	dst.io.Lock()
	defer dst.io.Unlock()
	if err := d.journalNote(dst, journal.Reset, 0); err != nil {
		return err
	}
	to := filepath.Join(d.dir, dirName(dst.topic, dst.partition))
	dst.mu.Lock()
	segs := dst.segs
	dst.mu.Unlock()
	for _, s := range segs {
		for _, h := range []*handle{&s.log, &s.idx.offsets, &s.idx.times} {
			h.moveTo(filepath.Join(to, filepath.Base(h.path)))
		}
	}
	if err := d.fs.Rename(dst.dir, to); err != nil {
		return err
	}
	dst.dir = to
	if err := d.fs.SyncDir(d.dir); err != nil {
		d.fail(err) // whether the name is durable is not known
		return err
	}
	return nil
}

// moveTo gives a file that nobody holds a new path.
func (h *handle) moveTo(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refs == 0 && h.file != nil {
		_ = h.file.Close() // synced before
		h.file = nil
	}
	h.path = path
}

// handOver gives the copy what the log has in memory, and lets the log send its callers there.
func (m *Move) handOver() {
	src, dst := m.src, m.dst
	src.mu.Lock()
	defer src.mu.Unlock()
	dst.mu.Lock() // always after src.mu, and only here
	defer dst.mu.Unlock()
	dst.producers, src.producers = src.producers, idempotence.Table{}
	dst.onStable, dst.hw, dst.loadedHW = src.onStable, src.hw, src.loadedHW
	dst.clean.to, dst.clean.err = src.clean.to, src.clean.err
	if dst.err == errMoving {
		dst.err = nil
	}
	src.held.to = dst
}

// Retire takes the old directory away after Finish: it is removed when the log's file.delete.delay.ms has passed.
func (m *Move) Retire() {
	s := m.src.store
	s.ckptMu.Lock()
	defer s.ckptMu.Unlock()
	if s.usable() != nil {
		return // the next start finds two equal copies
	}
	s.noteDiskError(s.Delete(m.src))
}

// Release lets the appends that were held go on, where the log is now.
func (m *Move) Release() { m.src.release() }

// release lets the held appends go on, in their order and before all later ones.
func (l *Log) release() {
	for {
		l.mu.Lock()
		head := l.held.head
		l.held.head, l.held.last = nil, nil
		if head == nil {
			l.held.on = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for a := head; a != nil; {
			next := a.next
			l.mu.Lock()
			l.append(a)
			a = next
		}
	}
}

// holdBack queues an append while the log is held. The caller holds mu.
func (l *Log) holdBack(a *Append) {
	a.next = nil
	if l.held.last == nil {
		l.held.head = a
	} else {
		l.held.last.next = a
	}
	l.held.last = a
}

// successor is the log that took this one's place, nil while there is none.
func (l *Log) successor() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held.to
}

// Abort gives the move up and removes the copy; Release is still to be called. After Finish it does nothing.
func (m *Move) Abort() {
	if m.finished {
		return
	}
	m.src.resumeCleaning()
	d := m.dst.store
	d.mu.Lock()
	delete(d.future, logKey{m.dst.topic, m.dst.partition})
	d.mu.Unlock()
	if d.usable() != nil {
		return // the next start removes it
	}
	_, err := d.takeAway(m.dst, deleteDirSuffix)
	if dir := m.dst.Dir(); strings.HasSuffix(dir, deleteDirSuffix) {
		d.removeLater(dir, 0)
	}
	d.noteDiskError(err)
}

// dropFutures removes the copies of moves that are not at their end: a stopped directory has whole logs only. The caller
// holds ckptMu.
func (s *Store) dropFutures() error {
	s.mu.Lock()
	moves := s.future
	s.future = map[logKey]*Move{}
	s.mu.Unlock()
	for _, m := range moves {
		if m == nil {
			continue
		}
		m.dst.io.Lock()
		m.dst.mu.Lock()
		m.dst.err, m.dst.gone = ErrClosed, true
		m.dst.mu.Unlock()
		err := s.fs.RemoveAll(m.dst.dir)
		m.dst.io.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// DropFutures removes what earlier moves have left in the directory, of partitions that are held elsewhere in full.
func (s *Store) DropFutures(held func(topic string, partition int32) bool) {
	for _, name := range s.leftFutures {
		base := strings.TrimSuffix(name, futureDirSuffix)
		topic, partition, ok := parseDirName(base[:max(strings.LastIndexByte(base, '.'), 0)])
		if !ok || !held(topic, partition) {
			s.logger.Warn("a copy that was never completed is left alone: there is no other of its partition", "path", filepath.Join(s.dir, name))
			continue
		}
		s.removeLater(filepath.Join(s.dir, name), 0)
	}
	s.leftFutures = nil
}

// Stray takes a log out of service, durably, that no partition owns or whose partition has a better copy elsewhere. Its
// directory stays, under Kafka's name for such.
func (s *Store) Stray(l *Log) error {
	s.mu.Lock()
	delete(s.logs, logKey{l.topic, l.partition})
	s.departed[logKey{l.topic, l.partition}] = true
	s.mu.Unlock()
	_, err := s.takeAway(l, strayDirSuffix)
	return err
}
