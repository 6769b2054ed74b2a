package commitlog

import (
	"log/slog"
	"math"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
)

// StoreOptions is what a store is opened with. FS, Dir and World are required.
type StoreOptions struct {
	FS    vfs.FS
	Dir   string
	World clock.World
	// Logger gets what operators should see; nil discards it.
	Logger *slog.Logger
	// JournalFileBytes is the size of one journal file, 0 for DefaultJournalFileBytes.
	JournalFileBytes int64
	// TailBytes bounds the memory for data that the segments do not have yet, 0 for DefaultTailBytes.
	TailBytes int64
	// MaxOpenFiles bounds the descriptors, 0 for DefaultMaxOpenFiles.
	MaxOpenFiles int
	// OnFail is called once, in the background, when the directory goes offline.
	OnFail func(error)
	// RecoveryThreads is num.recovery.threads.per.data.dir, 0 for one.
	RecoveryThreads int
	// RetentionCheckMs is log.retention.check.interval.ms, 0 for its default of 5 minutes.
	RetentionCheckMs int64
	// OffsetCheckpointMs is log.flush.offset.checkpoint.interval.ms, 0 for its default of 60 s.
	OffsetCheckpointMs int64
	// Cleaner compacts the logs whose cleanup.policy asks for it; nil: nothing is compacted.
	Cleaner *Cleaner
	// Config gives the configuration of a log that Open finds; nil for defaults.
	Config func(topic string, partition int32) LogConfig
}

// Defaults of StoreOptions.
const (
	DefaultJournalFileBytes = 64 << 20
	DefaultTailBytes        = 32 << 20
	DefaultMaxOpenFiles     = 8192
	defaultRetentionCheckMs = 300_000
	defaultCheckpointMs     = 60_000
)

func (o StoreOptions) withDefaults() StoreOptions {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnFail == nil {
		o.OnFail = func(error) {}
	}
	if o.Config == nil {
		o.Config = func(string, int32) LogConfig { return LogConfig{} }
	}
	o.JournalFileBytes = orDefault(o.JournalFileBytes, DefaultJournalFileBytes)
	o.TailBytes = orDefault(o.TailBytes, DefaultTailBytes)
	o.MaxOpenFiles = orDefault(o.MaxOpenFiles, DefaultMaxOpenFiles)
	o.RecoveryThreads = orDefault(o.RecoveryThreads, 1)
	o.RetentionCheckMs = orDefault(o.RetentionCheckMs, defaultRetentionCheckMs)
	o.OffsetCheckpointMs = orDefault(o.OffsetCheckpointMs, defaultCheckpointMs)
	return o
}

func orDefault[T int | int64](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// LogConfig is the configuration of one log, in Kafka's topic settings. Fields
// that are 0 have Kafka's default, unless the comment says otherwise.
type LogConfig struct {
	// SegmentBytes is segment.bytes, SegmentMs segment.ms, IndexBytes segment.index.bytes,
	// IndexIntervalBytes index.interval.bytes.
	SegmentBytes       int64
	SegmentMs          int64
	IndexBytes         int
	IndexIntervalBytes int64
	// RetentionBytes is retention.bytes and RetentionMs retention.ms; -1 for no bound, and 0 means the default.
	RetentionBytes int64
	RetentionMs    int64
	// Delete and Compact are the cleanup.policy; neither means delete.
	Delete, Compact bool
	// FileDeleteDelayMs is file.delete.delay.ms.
	FileDeleteDelayMs int64
	// Written is ack.durability=written: records are acknowledged, and may be read, when they are in
	// the page cache. False means synced.
	Written bool
	// ProducerExpiryMs is producer.id.expiration.ms.
	ProducerExpiryMs int64
	// SegmentJitterMs is segment.jitter.ms: up to so much earlier a segment is closed by time; 0 for none.
	SegmentJitterMs int64
	// MinCleanableRatio is min.cleanable.dirty.ratio.
	MinCleanableRatio float64
	// MinCompactionLagMs is min.compaction.lag.ms; 0 means 0. MaxCompactionLagMs is max.compaction.lag.ms.
	MinCompactionLagMs int64
	MaxCompactionLagMs int64
	// DeleteRetentionMs is delete.retention.ms.
	DeleteRetentionMs int64
}

func (c LogConfig) withDefaults() LogConfig {
	c.SegmentBytes = orDefault(c.SegmentBytes, 1<<30)
	c.SegmentMs = orDefault(c.SegmentMs, 7*24*3600*1000)
	c.IndexBytes = orDefault(c.IndexBytes, 10<<20)
	c.IndexIntervalBytes = orDefault(c.IndexIntervalBytes, 4096)
	c.RetentionBytes = orDefault(c.RetentionBytes, -1)
	c.RetentionMs = orDefault(c.RetentionMs, 7*24*3600*1000)
	c.FileDeleteDelayMs = orDefault(c.FileDeleteDelayMs, 60_000)
	c.ProducerExpiryMs = orDefault(c.ProducerExpiryMs, 24*3600*1000)
	c.MaxCompactionLagMs = orDefault(c.MaxCompactionLagMs, math.MaxInt64)
	c.DeleteRetentionMs = orDefault(c.DeleteRetentionMs, 24*3600*1000)
	if c.MinCleanableRatio == 0 {
		c.MinCleanableRatio = 0.5
	}
	if !c.Compact {
		c.Delete = true
	}
	return c
}

// maxSegmentMs is when a segment is closed by time: what is to be compacted soon must not stay in the active one.
func (c *LogConfig) maxSegmentMs() int64 {
	if c.Compact && c.MaxCompactionLagMs > 0 {
		return min(c.MaxCompactionLagMs, c.SegmentMs)
	}
	return c.SegmentMs
}
