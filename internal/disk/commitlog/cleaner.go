package commitlog

import (
	"errors"
	"log/slog"
	"math"
	"sort"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/clean"
)

// CleanerOptions are the settings of compaction. A zero value means Kafka's default.
type CleanerOptions struct {
	// Threads is log.cleaner.threads: how many logs are cleaned at a time, over all data directories.
	Threads int
	// DedupeBytes is log.cleaner.dedupe.buffer.size, for the keys of all threads together.
	DedupeBytes int64
	// LoadFactor is log.cleaner.io.buffer.load.factor.
	LoadFactor float64
	// MaxBytesPerSecond is log.cleaner.io.max.bytes.per.second, of reading and writing together.
	MaxBytesPerSecond float64
	// BackoffMs is log.cleaner.backoff.ms: how often it is looked whether there is something to clean.
	BackoffMs int64
}

func (o CleanerOptions) withDefaults() CleanerOptions {
	o.Threads = orDefault(o.Threads, 1)
	o.DedupeBytes = orDefault(o.DedupeBytes, 128<<20)
	if o.LoadFactor == 0 {
		o.LoadFactor = clean.MaxLoad
	}
	if o.MaxBytesPerSecond <= 0 {
		o.MaxBytesPerSecond = math.MaxFloat64
	}
	o.BackoffMs = orDefault(o.BackoffMs, 15_000)
	return o
}

// Cleaner compacts the logs of all stores that were opened with it, the dirtiest first. A log whose cleaning fails is left alone
// from then on and told by [Store.Cleaner]; the others go on.
//
// A cleaning is done in steps, each of them one piece of background work, so that closing, truncation and
// throttling have their turn between any two.
type Cleaner struct {
	world  clock.World
	logger *slog.Logger

	pickMu sync.Mutex // one choice at a time; taken before mu

	mu      sync.Mutex // guards what follows
	opts    CleanerOptions
	stores  []*Store
	timer   clock.Timer
	workers int
	closed  bool
	paid    time.Duration // until when the bytes that were read and written fill the allowed rate (Mono)
	lastRun time.Duration // when it was last looked for work (Mono)
	stats   CleanerStats
}

// CleanerStats are figures over all stores, for metrics.
type CleanerStats struct {
	// Workers is how many cleanings run.
	Workers int
	// Runs counts finished cleanings, Aborted those given up for truncation, deletion and the like, Failed those that made
	// their log uncleanable.
	Runs, Aborted, Failed int64
	// BytesRead, BytesWritten, RecordsRead and RecordsWritten add up all finished cleanings.
	BytesRead, BytesWritten, RecordsRead, RecordsWritten int64
	// BufferUse is how full the table of keys was in the last cleaning, 0 to 1; LastTook and MaxTook are the times of the last
	// cleaning and the longest.
	BufferUse         float64
	LastTook, MaxTook time.Duration
	// MaxDirtyRatio is that of the dirtiest log, and MaxDelayMs how long the latest one is behind its max.compaction.lag.ms, when it was last looked.
	MaxDirtyRatio float64
	MaxDelayMs    int64
	// SinceLook is the time since it was last looked for work.
	SinceLook time.Duration
}

// NewCleaner makes a cleaner, which works until Close. Logger may be nil.
func NewCleaner(world clock.World, logger *slog.Logger, o CleanerOptions) *Cleaner {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Cleaner{world: world, logger: logger, opts: o.withDefaults(), lastRun: world.Mono()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer = world.AfterFunc(c.backoff(), c.tick)
	return c
}

func (c *Cleaner) backoff() time.Duration {
	return time.Duration(c.opts.BackoffMs) * time.Millisecond
}

// SetOptions changes the settings; cleanings under way keep their memory.
func (c *Cleaner) SetOptions(o CleanerOptions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opts = o.withDefaults()
	if !c.closed {
		c.timer.Reset(c.backoff())
	}
}

// Close ends the cleaner: nothing new is begun, and what is under way ends at its next step.
func (c *Cleaner) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.timer.Stop()
}

func (c *Cleaner) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Stats are the figures as they are now.
func (c *Cleaner) Stats() CleanerStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Workers = c.workers
	s.SinceLook = c.world.Mono() - c.lastRun
	return s
}

func (c *Cleaner) add(s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stores = append(c.stores, s)
}

func (c *Cleaner) remove(s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.stores {
		if x == s {
			c.stores = append(c.stores[:i:i], c.stores[i+1:]...)
			return
		}
	}
}

// tick is what the timer calls.
func (c *Cleaner) tick() {
	c.Kick()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.timer.Reset(c.backoff())
	}
}

// Kick looks for work now, in the background.
func (c *Cleaner) Kick() {
	c.mu.Lock()
	n := c.opts.Threads - c.workers
	if c.closed {
		n = 0
	}
	c.workers += max(n, 0)
	c.mu.Unlock()
	for range n {
		w := &cleanWorker{cleaner: c}
		c.world.Go("clean", w.run)
	}
}

// cleanWorker cleans one log after the other.
type cleanWorker struct {
	cleaner *Cleaner
	job     *cleanJob
	keys    *clean.Keys
}

// run does one step, and goes on in the background while there is more.
func (w *cleanWorker) run() {
	c := w.cleaner
	if w.job == nil {
		if w.job = c.pick(); w.job == nil {
			c.mu.Lock()
			c.workers--
			c.mu.Unlock()
			return
		}
		w.job.keys = w.table()
	}
	bytes, more := w.job.run()
	if !more {
		w.job = nil
	}
	if wait := c.throttle(bytes); wait > 0 {
		c.world.AfterFunc(wait, func() { c.world.Go("clean", w.run) })
		return
	}
	c.world.Go("clean", w.run)
}

// table lends the worker's table of keys, which stays with it until it ends.
func (w *cleanWorker) table() *clean.Keys {
	if w.keys == nil {
		var random [4]uint64
		for i := range random {
			random[i] = w.cleaner.world.Uint64()
		}
		w.keys = clean.NewKeys(random)
	}
	return w.keys
}

// throttle accounts for bytes and tells how long to wait before more are read or written.
func (c *Cleaner) throttle(bytes int64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.world.Mono()
	c.paid = max(c.paid, now)
	cost := float64(bytes) / c.opts.MaxBytesPerSecond * float64(time.Second)
	c.paid += time.Duration(min(cost, float64(time.Hour)))
	// Below this the timer costs more than it is exact.
	if wait := c.paid - now; wait >= minThrottle {
		return wait
	}
	return 0
}

const minThrottle = 5 * time.Millisecond

// keyBytes is the memory of one worker's table.
func (c *Cleaner) keyBytes() (bytes int64, load float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opts.DedupeBytes / int64(c.opts.Threads), c.opts.LoadFactor
}

// pick takes the dirtiest log that is due, nil if there is none or the worker is not needed any more.
func (c *Cleaner) pick() *cleanJob {
	c.pickMu.Lock()
	defer c.pickMu.Unlock()
	c.mu.Lock()
	c.lastRun = c.world.Mono()
	stores := c.stores
	idle := c.closed || c.workers > c.opts.Threads
	c.mu.Unlock()
	if idle {
		return nil
	}
	var best *cleanable
	var ratio float64
	var delay int64
	for _, s := range stores {
		if s.usable() != nil {
			continue
		}
		for _, l := range s.Logs() {
			d, err := l.cleanable()
			if err != nil {
				c.noteFailure(l, err)
				continue
			}
			if d == nil {
				continue
			}
			ratio, delay = max(ratio, d.ratio), max(delay, d.delayMs)
			if d.due && (best == nil || d.ratio > best.ratio) {
				best = d
			}
		}
	}
	c.mu.Lock()
	c.stats.MaxDirtyRatio, c.stats.MaxDelayMs = ratio, delay
	c.mu.Unlock()
	if best == nil {
		return nil
	}
	return best.log.beginCleaning(c, best)
}

// noteFailure makes a log uncleanable, and says so once.
func (c *Cleaner) noteFailure(l *Log, err error) {
	if errors.Is(err, errReplaced) || errors.Is(err, ErrNoSpace) || l.store.usable() != nil {
		return
	}
	l.mu.Lock()
	first := l.clean.err == nil && !l.gone && l.err == nil
	if first {
		l.clean.err = err
	}
	l.mu.Unlock()
	if !first {
		return
	}
	c.mu.Lock()
	c.stats.Failed++
	c.mu.Unlock()
	c.logger.Error("a log cannot be compacted and grows from now on: repair its files and restart the node, or delete the topic",
		"topic", l.topic, "partition", l.partition, "dir", l.Dir(), "error", err)
}

// cleanState is what compaction knows of a log. It is guarded by Log.mu.
type cleanState struct {
	to     int64     // below, the log was cleaned; -1 when it never was
	gen    uint64    // what a cleaning has begun with must not be finished when it has changed
	paused int       // moves under way, during which nothing may be cleaned
	job    *cleanJob // the cleaning under way
	swaps  uint64    // how often segments were replaced, and got their names
	err    error     // why the log is uncleanable
	last   CleanRun
}

// CleanRun is the figures of one cleaning.
type CleanRun struct {
	// From and To are the offsets of what was cleaned for the first time.
	From, To int64
	// At is when it ended, in ms, 0 when there was none.
	At   int64
	Took time.Duration
	// ScannedBytes were read for keys; BytesRead and BytesWritten are the copying.
	ScannedBytes, BytesRead, BytesWritten int64
	RecordsRead, RecordsWritten           int64
	// Keys is how many keys were in the table, of KeyRoom.
	Keys, KeyRoom int
	// Invalid counts records without a key, which were dropped.
	Invalid int64
}

// CleanerLog is what compaction has to tell of one log.
type CleanerLog struct {
	Topic     string
	Partition int32
	// FirstDirty is the first offset that was never cleaned, Uncleanable the first that cannot be cleaned now: it is in the
	// active segment, in an open transaction, or too new.
	FirstDirty, Uncleanable int64
	// CleanBytes and DirtyBytes are what lies below these offsets; DirtyRatio is the dirty part of both.
	CleanBytes, DirtyBytes int64
	DirtyRatio             float64
	// Running says that the log is being cleaned.
	Running bool
	// Err is why the log is not cleaned any more, nil for a healthy one.
	Err error
	// Last is the last cleaning.
	Last CleanRun
}

// CleanerStatus is what compaction has to tell of a data directory.
type CleanerStatus struct {
	// Enabled is false if nothing is compacted here.
	Enabled bool
	// Logs are those with cleanup.policy compact, sorted by topic and partition.
	Logs []CleanerLog
	// Uncleanable counts those with an error; UncleanableBytes is what they have to be cleaned.
	Uncleanable      int
	UncleanableBytes int64
}

// Cleaner tells how compaction fares in this directory.
func (s *Store) Cleaner() CleanerStatus {
	status := CleanerStatus{Enabled: s.opts.Cleaner != nil}
	for _, l := range s.Logs() {
		l.mu.Lock()
		compact := l.cfg.Compact && !l.gone
		out := CleanerLog{
			Topic: l.topic, Partition: l.partition, Running: l.clean.job != nil, Err: l.clean.err, Last: l.clean.last,
		}
		l.mu.Unlock()
		if !compact {
			continue
		}
		if d, err := l.dirtiness(); err == nil && d != nil {
			out.FirstDirty, out.Uncleanable = d.first, d.upper
			out.CleanBytes, out.DirtyBytes, out.DirtyRatio = d.cleanBytes, d.dirtyBytes, d.ratio
		}
		if out.Err != nil {
			status.Uncleanable++
			status.UncleanableBytes += out.DirtyBytes
		}
		status.Logs = append(status.Logs, out)
	}
	sort.Slice(status.Logs, func(a, b int) bool {
		x, y := &status.Logs[a], &status.Logs[b]
		return x.Topic < y.Topic || x.Topic == y.Topic && x.Partition < y.Partition
	})
	return status
}
