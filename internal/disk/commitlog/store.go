package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/journal"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// lockFile is Kafka's.
const lockFile = ".lock"

// errRebuilding refuses appends while the state behind a refused append is restored.
var errRebuilding = fmt.Errorf("the log is being restored after a refused append: %w", ErrNoSpace)

// Store is one data directory.
type Store struct {
	fs       vfs.FS
	dir      string
	world    clock.World
	logger   *slog.Logger
	opts     StoreOptions
	lock     vfs.Lock
	files    fileCache
	pool     chunkPool
	reportMu sync.Mutex // guards report while loading
	report   Report

	mu   sync.RWMutex // guards logs, departed and future
	logs map[logKey]*Log
	// departed are logs that the checkpoint files still name: a new one of that name must not take their offsets for its own.
	departed map[logKey]bool
	// future are the moves to this directory, nil while one is being prepared, and leftFutures what Open found of earlier ones.
	future      map[logKey]*Move
	leftFutures []string

	// Figures are for whoever shows metrics.
	Figures Figures

	queue   queue
	settled []settled // the commit loop's memory

	roundMu   sync.Mutex // one round at a time; guards what follows
	journal   *journal.Journal
	frame     journal.Frame
	roundLogs []*Log
	eraseDue  bool

	lastCkpt    atomic.Int64 // when the last checkpoint began, and lastOffsets when Kafka's files were written (Mono)
	lastOffsets atomic.Int64
	published   atomic.Uint64 // every frame up to here is in the tails
	sinceCkpt   atomic.Int64  // bytes committed since the last checkpoint
	refusals    refusals
	full        atomic.Bool // the disk is full: appends are refused until a check finds space
	closing     atomic.Bool
	dead        atomic.Bool // abandoned or offline: background work stops

	failMu sync.Mutex // guards failed
	failed error

	dirtyMu    sync.Mutex // guards what follows
	dirty      []*Log     // have bytes that are not synced in their segments
	behind     []*Log     // have enough tail to be written behind
	behindBusy bool
	ckptBusy   bool // a checkpoint is queued or running

	names names // of new logs

	ckptMu sync.Mutex // one checkpoint at a time

	offsetsMu  sync.Mutex // one writer of the checkpoint files at a time; guards hasCleaned
	hasCleaned bool       // there is, or should be, a cleaner-offset-checkpoint

	// cleanMu is held for reading while a cleaning does a step; closing takes it to see them all at rest.
	cleanMu sync.RWMutex

	timerMu   sync.Mutex // guards timers
	timers    []clock.Timer
	lastBytes int64 // what tick saw last

	bufMu sync.Mutex // guards bufs
	bufs  [][][]byte
}

type logKey struct {
	topic     string
	partition int32
}

// Report is what Open found to tell.
type Report struct {
	// Clean says that the directory was stopped cleanly; BrokerEpoch is what the marker says, -1 unknown.
	Clean       bool
	BrokerEpoch int64
	// Notes are repairs, one sentence each: bytes cut off, indexes rebuilt.
	Notes []string
	// Offline are the partitions that cannot be served, with the reason.
	Offline map[string]error
}

// Report tells what Open found.
func (s *Store) Report() Report { return s.report }

// Dir is the data directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) nowMs() int64 { return clock.Millis(s.world.Now()) }

// Open takes the directory, which exists or is made, and loads its logs.
func Open(o StoreOptions) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		fs: o.FS, dir: o.Dir, world: o.World, logger: o.Logger.With("dir", o.Dir), opts: o,
		files: fileCache{fs: o.FS, limit: o.MaxOpenFiles}, logs: map[logKey]*Log{}, departed: map[logKey]bool{},
		future: map[logKey]*Move{},
	}
	s.names.store = s
	if _, err := s.fs.Stat(s.dir); errors.Is(err, vfs.ErrNotExist) {
		if err := s.makeRoot(); err != nil {
			return nil, fmt.Errorf("creating data directory %s: %w", s.dir, err)
		}
	}
	lock, err := s.fs.Lock(filepath.Join(s.dir, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("the data directory %s is in use by another process: stop that broker, or give this one another log.dirs: %w", s.dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("locking data directory %s: %w", s.dir, err)
	}
	s.lock = lock
	if err := s.load(); err != nil {
		s.files.closeAll()
		return nil, errors.Join(err, lock.Close())
	}
	s.startTimers()
	if o.Cleaner != nil {
		o.Cleaner.add(s)
	}
	return s, nil
}

// makeRoot creates the data directory, durably: its name, and those of the directories above that are new.
func (s *Store) makeRoot() error {
	above := filepath.Dir(s.dir)
	var fresh []string
	for above != filepath.Dir(above) {
		if _, err := s.fs.Stat(above); !errors.Is(err, vfs.ErrNotExist) {
			break
		}
		fresh = append(fresh, above)
		above = filepath.Dir(above)
	}
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	for _, dir := range append(fresh, above) {
		if err := s.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Logs are all logs, sorted by topic and partition.
func (s *Store) Logs() []*Log {
	s.mu.RLock()
	list := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		list = append(list, l)
	}
	s.mu.RUnlock()
	sort.Slice(list, func(a, b int) bool {
		if list[a].topic != list[b].topic {
			return list[a].topic < list[b].topic
		}
		return list[a].partition < list[b].partition
	})
	return list
}

// Log finds a log.
func (s *Store) Log(topic string, partition int32) (*Log, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.logs[logKey{topic, partition}]
	return l, ok
}

// Create makes the directory of a new, empty log. Its name is durable before anything in it is acknowledged as such.
func (s *Store) Create(topic string, partition int32, topicID [16]byte, c LogConfig) (*Log, error) {
	if err := s.usable(); err != nil {
		return nil, fmt.Errorf("creating %s-%d: %w", topic, partition, err)
	}
	key := logKey{topic, partition}
	s.mu.RLock()
	departed := s.departed[key]
	s.mu.RUnlock()
	if departed {
		if err := s.writeOffsets(); err != nil {
			return nil, fmt.Errorf("creating %s-%d: %w", topic, partition, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.logs[key]; ok {
		return nil, fmt.Errorf("creating %s-%d in %s: %w", topic, partition, s.dir, vfs.ErrExist)
	}
	l := s.newLog(topic, partition, topicID, c)
	if err := s.makeDir(l); err != nil {
		return nil, fmt.Errorf("creating %s-%d: %w", topic, partition, err)
	}
	l.segs = []*segment{newSegment(l.dir, 0, s.nowMs())}
	l.resetPlan()
	s.logs[key] = l
	s.names.add(l)
	return l, nil
}

func (s *Store) newLog(topic string, partition int32, topicID [16]byte, c LogConfig) *Log {
	return &Log{
		store: s, topic: topic, partition: partition, topicID: topicID, hw: -1, cfg: c.withDefaults(),
		clean: cleanState{to: -1},
		dir:   filepath.Join(s.dir, dirName(topic, partition)),
	}
}

// makeDir creates the directory with the first, empty segment and the topic id, as Kafka does. Nothing of it is durable yet.
func (s *Store) makeDir(l *Log) error {
	if err := s.fs.MkdirAll(l.dir); err != nil {
		return err
	}
	if err := writeNew(s.fs, l.path(offsetName(0)+logSuffix), nil); err != nil || l.topicID == ([16]byte{}) {
		return err
	}
	return writeNew(s.fs, l.path(metadataFile), encodeTopicID(l.topicID))
}

// writeNew writes a file that nobody can have read yet.
func writeNew(fsys vfs.FS, path string, b []byte) error {
	f, err := fsys.Edit(path)
	if err != nil {
		return err
	}
	err = f.Truncate(0)
	if err == nil && len(b) > 0 {
		_, err = f.WriteAt(b, 0)
	}
	return errors.Join(err, f.Close())
}

// usable is nil while the store works.
func (s *Store) usable() error {
	if s.closing.Load() {
		return ErrClosed
	}
	return s.failure()
}

// failure is the error that took the directory offline, nil while it works.
func (s *Store) failure() error {
	s.failMu.Lock()
	defer s.failMu.Unlock()
	return s.failed
}

// fail takes the directory offline. The first error counts: what is on disk after
// a failed write or sync is unknown, so nothing is tried again.
func (s *Store) fail(err error) {
	s.failMu.Lock()
	first := s.failed == nil
	if first {
		s.failed = fmt.Errorf("%w: %s: %w", ErrStorage, s.dir, final(err))
	}
	failed := s.failed
	s.failMu.Unlock()
	if !first {
		return
	}
	s.logger.Error("the data directory goes offline: nothing is read or written there until the disk is repaired and the node restarted", "error", err)
	for _, l := range s.Logs() {
		l.mu.Lock()
		l.err = failed
		l.mu.Unlock()
	}
	s.world.Go("offline", func() { s.opts.OnFail(failed) })
}

// takeBufs lends a list of buffers; giveBufs takes it back.
func (s *Store) takeBufs() [][]byte {
	s.bufMu.Lock()
	defer s.bufMu.Unlock()
	if n := len(s.bufs); n > 0 {
		b := s.bufs[n-1]
		s.bufs = s.bufs[:n-1]
		return b
	}
	return make([][]byte, 0, 64)
}

func (s *Store) giveBufs(b [][]byte) {
	clear(b)
	s.bufMu.Lock()
	defer s.bufMu.Unlock()
	if len(s.bufs) < maxPooled {
		s.bufs = append(s.bufs, b[:0])
	}
}

// noteDirty lists a log for the next checkpoint, and for writing behind if it has much to write.
func (s *Store) noteDirty(l *Log, behind bool) {
	s.dirtyMu.Lock()
	if !l.inDirty {
		l.inDirty, l.touched = true, true
		s.dirty = append(s.dirty, l)
	}
	start := false
	if behind && !l.inBehind {
		l.inBehind = true
		s.behind = append(s.behind, l)
		start = !s.behindBusy
		s.behindBusy = true
	}
	s.dirtyMu.Unlock()
	if start {
		s.world.Go("write behind", s.writeBehind)
	}
}

// writeBehind moves large tails to their segments.
func (s *Store) writeBehind() {
	for {
		s.dirtyMu.Lock()
		if len(s.behind) == 0 || s.dead.Load() {
			s.behindBusy = false
			s.dirtyMu.Unlock()
			return
		}
		l := s.behind[0]
		s.behind = append(s.behind[:0], s.behind[1:]...)
		l.inBehind = false
		s.dirtyMu.Unlock()
		l.io.Lock()
		err := l.flushTail()
		l.io.Unlock()
		s.noteDiskError(err)
	}
}

// noteDiskError handles the error of background writing: a full disk refuses appends until there is space, all else is final.
func (s *Store) noteDiskError(err error) {
	switch {
	case err == nil:
	case errors.Is(err, ErrNoSpace):
		s.noteFull(err)
	default:
		s.fail(err)
	}
}

// makeRoom frees memory for need more bytes of tails, by writing behind if necessary.
func (s *Store) makeRoom(need int) error {
	if need == 0 || s.pool.held.Load()+2*int64(need) <= s.opts.TailBytes {
		return nil
	}
	s.dirtyMu.Lock()
	logs := append([]*Log(nil), s.dirty...)
	s.dirtyMu.Unlock()
	for _, l := range logs {
		l.io.Lock()
		err := l.flushTail()
		l.io.Unlock()
		if err != nil {
			return err
		}
		if s.pool.held.Load()+2*int64(need) <= s.opts.TailBytes/2 {
			break
		}
	}
	return nil
}
