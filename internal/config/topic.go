package config

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/invariant"
)

// CompressionType is what a topic does with the codec of incoming batches.
type CompressionType int8

// The values of compression.type. The codecs are numbered as in a batch's attributes.
const (
	CompressionProducer CompressionType = -1 // keep what the producer chose
	CompressionNone     CompressionType = 0  // uncompressed
	CompressionGzip     CompressionType = 1
	CompressionSnappy   CompressionType = 2
	CompressionLz4      CompressionType = 3
	CompressionZstd     CompressionType = 4
)

// TimestampType says whose clock stamps the records, numbered as in a batch's attributes.
type TimestampType int8

// The values of message.timestamp.type.
const (
	CreateTime    TimestampType = 0
	LogAppendTime TimestampType = 1
)

// AckDurability says what an acknowledgement stands for.
type AckDurability int8

// The values of ack.durability.
const (
	AckSynced  AckDurability = iota // the batch is on stable storage
	AckWritten                      // the batch is in the operating system's page cache, as Kafka does
)

// TopicConfig is what the settings of a topic come to on this broker, parsed
// once. Sizes are in bytes, times in milliseconds; -1 means without end where
// the key says so. It never changes: a change of settings makes a new one.
type TopicConfig struct {
	Overrides Values // what is set for the topic itself

	Delete  bool // cleanup.policy has delete
	Compact bool // cleanup.policy has compact

	CompressionType CompressionType
	GzipLevel       int
	Lz4Level        int
	ZstdLevel       int

	MaxMessageBytes             int
	MaxDecompressedMessageBytes int
	TimestampType               TimestampType
	TimestampBeforeMaxMs        int64
	TimestampAfterMaxMs         int64

	RetentionBytes     int64
	RetentionMs        int64
	SegmentBytes       int
	SegmentMs          int64
	SegmentJitterMs    int64
	SegmentIndexBytes  int
	IndexIntervalBytes int
	FileDeleteDelayMs  int64
	Preallocate        bool
	FlushMessages      int64
	FlushMs            int64

	MinCleanableDirtyRatio float64
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	DeleteRetentionMs      int64

	MinInsyncReplicas     int
	UncleanLeaderElection bool
	AckDurability         AckDurability

	LeaderThrottled   []string // leader.replication.throttled.replicas
	FollowerThrottled []string // follower.replication.throttled.replicas

	RemoteStorage         bool
	RemoteCopyDisable     bool
	RemoteDeleteOnDisable bool
	RemoteCopyLagMs       int64 // -1: as LocalRetentionMs
	RemoteCopyLagBytes    int64 // -1: as LocalRetentionBytes
	LocalRetentionMs      int64 // -2: as RetentionMs
	LocalRetentionBytes   int64 // -2: as RetentionBytes

	DeadLetterQueue bool // errors.deadletterqueue.group.enable (KIP-1191)
}

// ResolveTopic works out a topic's settings from its overrides and the
// broker's. The result is usable in any case: overrides that are unknown or
// not valid are left out. The error, for whoever checks a change, names them
// and says which settings contradict each other.
func ResolveTopic(b *BrokerConfig, overrides map[string]string) (*TopicConfig, error) {
	var errs []error
	kept := make(Values, len(overrides))
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		if err := CheckTopicKey(key, overrides[key]); err != nil {
			errs = append(errs, err)
			continue
		}
		kept[key] = strings.TrimSpace(overrides[key])
	}
	t := parseTopic(topicView{broker: b, overrides: kept})
	if err := t.checkTogether(b); err != nil {
		errs = append(errs, err)
	}
	return t, errors.Join(errs...)
}

// CheckTopic checks the settings that a topic would have and gives the first thing that is wrong, in Kafka's order: unknown names,
// then values in the order in which Kafka defines the keys, then what contradicts.
func CheckTopic(b *BrokerConfig, overrides map[string]string) error {
	return checkFirst(ScopeTopic, overrides, func() error {
		_, err := ResolveTopic(b, overrides)
		return err
	})
}

// checkFirst gives the first unknown name, then the first value that its key does not take, and then what together says.
func checkFirst(s Scope, overrides map[string]string, together func() error) error {
	keys := slices.Sorted(maps.Keys(overrides))
	for _, key := range keys {
		if _, ok := Lookup(s, key); !ok {
			return checkOverlayKey(s, key, overrides[key])
		}
	}
	order := definitionOrder[s]
	slices.SortStableFunc(keys, func(a, b string) int { return rank(order, a) - rank(order, b) })
	for _, key := range keys {
		if err := checkOverlayKey(s, key, overrides[key]); err != nil {
			return err
		}
	}
	return together()
}

// rank is a key's place in an order, its end for those that are not there.
func rank(order []string, key string) int {
	if i := slices.Index(order, key); i >= 0 {
		return i
	}
	return len(order)
}

// definitionOrder is the order in which Kafka looks at values, where it is not that of the names.
var definitionOrder = map[Scope][]string{
	ScopeTopic: {
		"segment.bytes", "segment.ms", "segment.jitter.ms", "segment.index.bytes", "flush.messages", "flush.ms", "retention.bytes",
		"retention.ms", "max.message.bytes", "index.interval.bytes", "delete.retention.ms", "min.compaction.lag.ms",
		"max.compaction.lag.ms", "file.delete.delay.ms", "min.cleanable.dirty.ratio", "cleanup.policy",
		"unclean.leader.election.enable", "min.insync.replicas", "compression.type", "compression.gzip.level",
		"compression.lz4.level", "compression.zstd.level", "preallocate", "message.timestamp.type",
		"message.timestamp.before.max.ms", "message.timestamp.after.max.ms", "leader.replication.throttled.replicas",
		"follower.replication.throttled.replicas", "remote.storage.enable", "local.retention.ms", "local.retention.bytes",
		"remote.log.copy.disable", "remote.log.delete.on.disable",
	},
}

// CheckTopicKey tells whether a topic has such a key and the key such a value.
func CheckTopicKey(key, value string) error {
	d, ok := LookupTopic(key)
	if !ok {
		return &UnknownKeyError{Key: key, Scope: ScopeTopic, Closest: Closest(ScopeTopic, key)}
	}
	return d.Check(value)
}

// topicView reads topic keys through overrides, broker settings and defaults.
type topicView struct {
	broker    *BrokerConfig
	overrides Values
}

// text is the value of a key; every topic key that is read here has one, except the nullable ones.
func (v topicView) text(key string) string {
	d, ok := LookupTopic(key)
	invariant.Check(ok, "config: topic key %q is not in the table", key)
	value, _ := resolveThrough(d, v.broker, v.overrides)
	return value
}

// resolveThrough is the value of a topic or group key: override, broker synonym, default.
func resolveThrough(d *Def, b *BrokerConfig, overrides Values) (string, bool) {
	if value, ok := overrides[d.Name]; ok {
		return value, true
	}
	for _, s := range d.Synonyms {
		value, ok := b.effective[s.Name]
		if !ok {
			continue
		}
		if base, _ := LookupBroker(s.Name); base.Type == TypeList && d.Type != TypeList {
			// streams.assignor.name takes the first of group.streams.assignors.
			value, _, _ = strings.Cut(value, ",")
		}
		return convert(value, s.Factor), true
	}
	return d.DefaultValue()
}

func (v topicView) long(key string) int64 {
	text := v.text(key)
	n, err := strconv.ParseInt(text, 10, 64)
	invariant.Check(err == nil, "config: %s=%q passed as a number", key, text)
	return n
}

func (v topicView) number(key string) int { return int(v.long(key)) }

func (v topicView) truth(key string) bool { return strings.EqualFold(v.text(key), "true") }

func parseTopic(v topicView) *TopicConfig {
	policy := ParseList(v.text("cleanup.policy"))
	t := &TopicConfig{
		Overrides: v.overrides,
		Delete:    slices.Contains(policy, "delete"),
		Compact:   slices.Contains(policy, "compact"),

		CompressionType: parseCompression(v.text("compression.type")),
		GzipLevel:       v.number("compression.gzip.level"),
		Lz4Level:        v.number("compression.lz4.level"),
		ZstdLevel:       v.number("compression.zstd.level"),

		MaxMessageBytes:             v.number("max.message.bytes"),
		MaxDecompressedMessageBytes: v.number("max.decompressed.message.bytes"),
		TimestampBeforeMaxMs:        v.long("message.timestamp.before.max.ms"),
		TimestampAfterMaxMs:         v.long("message.timestamp.after.max.ms"),

		RetentionBytes:     v.long("retention.bytes"),
		RetentionMs:        v.long("retention.ms"),
		SegmentBytes:       v.number("segment.bytes"),
		SegmentMs:          v.long("segment.ms"),
		SegmentJitterMs:    v.long("segment.jitter.ms"),
		SegmentIndexBytes:  v.number("segment.index.bytes"),
		IndexIntervalBytes: v.number("index.interval.bytes"),
		FileDeleteDelayMs:  v.long("file.delete.delay.ms"),
		Preallocate:        v.truth("preallocate"),
		FlushMessages:      v.long("flush.messages"),
		FlushMs:            v.long("flush.ms"),

		MinCompactionLagMs: v.long("min.compaction.lag.ms"),
		MaxCompactionLagMs: v.long("max.compaction.lag.ms"),
		DeleteRetentionMs:  v.long("delete.retention.ms"),

		MinInsyncReplicas:     v.number("min.insync.replicas"),
		UncleanLeaderElection: v.truth("unclean.leader.election.enable"),

		LeaderThrottled:   ParseList(v.text("leader.replication.throttled.replicas")),
		FollowerThrottled: ParseList(v.text("follower.replication.throttled.replicas")),

		RemoteStorage:         v.truth("remote.storage.enable"),
		RemoteCopyDisable:     v.truth("remote.log.copy.disable"),
		RemoteDeleteOnDisable: v.truth("remote.log.delete.on.disable"),
		RemoteCopyLagMs:       v.long("remote.copy.lag.ms"),
		RemoteCopyLagBytes:    v.long("remote.copy.lag.bytes"),
		LocalRetentionMs:      v.long("local.retention.ms"),
		LocalRetentionBytes:   v.long("local.retention.bytes"),

		DeadLetterQueue: v.truth("errors.deadletterqueue.group.enable"),
	}
	ratio, err := parseDouble(v.text("min.cleanable.dirty.ratio"))
	invariant.Check(err == nil, "config: min.cleanable.dirty.ratio passed as a number")
	t.MinCleanableDirtyRatio = ratio
	if v.text("message.timestamp.type") == "LogAppendTime" {
		t.TimestampType = LogAppendTime
	}
	if v.text("ack.durability") == "written" {
		t.AckDurability = AckWritten
	}
	// internal.segment.bytes is Kafka's own back door below the least segment.bytes; its tests and ours use it.
	if text, ok := v.overrides["internal.segment.bytes"]; ok {
		if n, err := strconv.ParseInt(text, 10, 32); err == nil {
			t.SegmentBytes = int(n)
		}
	}
	return t
}

func parseCompression(text string) CompressionType {
	switch text {
	case "uncompressed":
		return CompressionNone
	case "gzip":
		return CompressionGzip
	case "snappy":
		return CompressionSnappy
	case "lz4":
		return CompressionLz4
	case "zstd":
		return CompressionZstd
	default:
		return CompressionProducer
	}
}

// checkTogether finds settings of a topic that contradict one another. The
// texts are Kafka's.
func (t *TopicConfig) checkTogether(b *BrokerConfig) error {
	if t.MinCompactionLagMs > t.MaxCompactionLagMs {
		return bareError("conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", t.MinCompactionLagMs, t.MaxCompactionLagMs)
	}
	if !t.RemoteStorage {
		return nil
	}
	if !b.GetBool("remote.log.storage.system.enable") {
		return bareError("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
	}
	if t.Compact {
		return bareError("Remote log storage only supports topics with cleanup.policy=delete or cleanup.policy being an empty list.")
	}
	for _, r := range []struct {
		key, whole, lag string
		local, all, cp  int64
	}{
		{"local.retention.ms", "retention.ms", "remote.copy.lag.ms", t.LocalRetentionMs, t.RetentionMs, t.RemoteCopyLagMs},
		{"local.retention.bytes", "retention.bytes", "remote.copy.lag.bytes", t.LocalRetentionBytes, t.RetentionBytes, t.RemoteCopyLagBytes},
	} {
		if err := checkLocalRetention(r.key, r.whole, r.local, r.all); err != nil {
			return err
		}
		effective := r.local
		if effective == -2 {
			effective = r.all
		}
		if t.RemoteCopyDisable && effective != r.all {
			return bareError("When `remote.log.copy.disable` is set to true, the `%s` and `%s` must be set to the identical value because there will be no more logs copied to the remote storage.", r.key, r.whole)
		}
		if effective >= 0 && r.cp > effective {
			return &InvalidError{Key: r.lag, Value: strconv.FormatInt(r.cp, 10), Reason: "Value must not exceed " + r.key + " (effective value: " + strconv.FormatInt(effective, 10) + ")"}
		}
	}
	return nil
}

func checkLocalRetention(key, whole string, local, all int64) error {
	number := strconv.FormatInt(local, 10)
	switch {
	case local == -2 || all == -1:
		return nil
	case local == -1:
		return &InvalidError{Key: key, Value: number, Reason: "Value must not be -1 as " + whole + " value is set as " + strconv.FormatInt(all, 10) + "."}
	case local > all:
		return &InvalidError{Key: key, Value: number, Reason: "Value must not be more than " + whole + " property value: " + strconv.FormatInt(all, 10)}
	}
	return nil
}
