package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// exchangePartitions is how many partitions each topic of the exchanged data has.
const exchangePartitions = 2

// exchangeTopics are the topics of the exchanged data, with their configurations. The small
// segments make several files with their indexes.
var exchangeTopics = map[string]map[string]string{
	"ex-none":    {"segment.bytes": "1048576", "index.interval.bytes": "1024"},
	"ex-gzip":    {"retention.ms": "86400000"},
	"ex-snappy":  {"segment.bytes": "1048576"},
	"ex-lz4":     {"message.timestamp.type": "LogAppendTime"},
	"ex-zstd":    {"max.message.bytes": "2000000", "min.insync.replicas": "1"},
	"ex-compact": {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.9"},
}

var exchangeCodecs = map[string]kgo.CompressionCodec{
	"ex-none": kgo.NoCompression(), "ex-gzip": kgo.GzipCompression(), "ex-snappy": kgo.SnappyCompression(),
	"ex-lz4": kgo.Lz4Compression(), "ex-zstd": kgo.ZstdCompression(), "ex-compact": kgo.NoCompression(),
}

// load fills a broker: topics of every codec, with keys, nulls and headers, written idempotently
// and not; records deleted from one, if trim; groups that have committed.
func load(ctx context.Context, addr string, trim bool) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	for topic, config := range exchangeTopics {
		values := map[string]*string{}
		for k, v := range config {
			values[k] = &v
		}
		if _, err := admin.CreateTopic(ctx, exchangePartitions, 1, values, topic); err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
		for _, idempotent := range []bool{true, false} {
			if err := loadTopic(ctx, addr, topic, idempotent); err != nil {
				return fmt.Errorf("%s: %w", topic, err)
			}
		}
	}
	if trim {
		var before kadm.Offsets
		before.Add(kadm.Offset{Topic: "ex-gzip", Partition: 1, At: 17, LeaderEpoch: -1})
		if r, err := admin.DeleteRecords(ctx, before); err != nil || r.Error() != nil {
			return fmt.Errorf("delete records: %w %w", err, r.Error())
		}
	}
	for group := range 3 {
		if err := commitGroup(ctx, addr, fmt.Sprint("ex-group-", group)); err != nil {
			return fmt.Errorf("group: %w", err)
		}
	}
	return nil
}

// loadTopic writes some hundreds of records, the partitions in turn.
func loadTopic(ctx context.Context, addr, topic string, idempotent bool) error {
	opts := []kgo.Opt{kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(exchangeCodecs[topic]), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(50_000)}
	if !idempotent {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	random := rand.New(rand.NewSource(7))
	var records []*kgo.Record
	for i := range 1000 {
		r := &kgo.Record{Topic: topic, Partition: int32(i % exchangePartitions), Key: fmt.Appendf(nil, "key-%d", i%50),
			Value: bytes.Repeat(fmt.Appendf(nil, "value-%d ", i), 1+i%300), Timestamp: time.Now().Add(time.Duration(i-2000) * time.Millisecond)}
		if i%10 == 0 {
			r.Value = make([]byte, 10_000)
			random.Read(r.Value)
		}
		if i%7 == 0 {
			r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte{0, byte(i)}}, {Key: "null"}}
		}
		if topic != "ex-compact" && i%11 == 0 {
			r.Key = nil
		} else if i%13 == 0 {
			r.Value = nil
		}
		records = append(records, r)
	}
	return cl.ProduceSync(ctx, records...).FirstErr()
}

// commitGroup has a member join, read something, commit and leave.
func commitGroup(ctx context.Context, addr, group string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics("ex-none", "ex-zstd"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	fs := cl.PollRecords(ctx, 100)
	if err := fs.Err(); err != nil {
		return err
	}
	return cl.CommitRecords(ctx, fs.Records()...)
}

// state is what a broker serves, as lines that can be compared: topics with their ids and
// configurations, every record with its place, the groups' committed offsets.
func state(ctx context.Context, addr string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range topics.Sorted() {
		if t.Err != nil || t.IsInternal {
			continue
		}
		out = append(out, fmt.Sprintf("topic %s %s %d", t.Topic, t.ID, len(t.Partitions)))
		lines, err := topicState(ctx, addr, admin, t.Topic)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Topic, err)
		}
		out = append(out, lines...)
	}
	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range groups.Sorted() {
		offsets, err := admin.FetchOffsets(ctx, g.Group)
		if err != nil {
			return nil, fmt.Errorf("group %s: %w", g.Group, err)
		}
		for _, o := range offsets.Sorted() {
			out = append(out, fmt.Sprintf("group %s %s/%d %d %d %q", g.Group, o.Topic, o.Partition, o.At, o.LeaderEpoch, o.Metadata))
		}
	}
	return out, nil
}

// topicState is the topic's own configuration and every record.
func topicState(ctx context.Context, addr string, admin *kadm.Client, topic string) (out []string, err error) {
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	for _, c := range configs[0].Configs {
		if c.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			out = append(out, fmt.Sprintf("config %s %s=%s", topic, c.Key, c.MaybeValue()))
		}
	}
	slices.Sort(out)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(starts.Error(), ends.Error()); err != nil {
		return nil, err
	}
	for partition := range int32(len(ends[topic])) {
		e := ends[topic][partition]
		start := starts[topic][e.Partition].Offset
		out = append(out, fmt.Sprintf("partition %s/%d %d to %d", topic, e.Partition, start, e.Offset))
		lines, err := partitionState(ctx, addr, topic, e.Partition, start, e.Offset)
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", e.Partition, err)
		}
		out = append(out, lines...)
	}
	return out, nil
}

// partitionState reads all records from start up to end. Compaction may have left holes.
func partitionState(ctx context.Context, addr, topic string, partition int32, start, end int64) (out []string, err error) {
	err = readPartition(ctx, addr, span{topic, partition, start, end}, func(r *kgo.Record) {
		var headers strings.Builder
		for _, h := range r.Headers {
			fmt.Fprintf(&headers, " %s=%x,%t", h.Key, h.Value, h.Value == nil)
		}
		sum := sha256.Sum256(r.Value)
		out = append(out, fmt.Sprintf("record %s/%d@%d epoch %d time %d,%d key %q,%t value %s,%t pid %d,%d%s", topic, partition, r.Offset, r.LeaderEpoch,
			r.Timestamp.UnixMilli(), r.Attrs.TimestampType(), r.Key, r.Key == nil, hex.EncodeToString(sum[:6]), r.Value == nil, r.ProducerID, r.ProducerEpoch, headers.String()))
	})
	return out, err
}

// span is a partition's records from start up to end.
type span struct {
	topic      string
	partition  int32
	start, end int64
}

// readPartition calls each for every record from start up to end.
func readPartition(ctx context.Context, addr string, s span, each func(*kgo.Record)) error {
	topic, partition, start, end := s.topic, s.partition, s.start, s.end
	if start >= end {
		return nil
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(start)}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for next := start; next < end; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return fmt.Errorf("reading from offset %d up to %d: %w", next, end, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			each(r)
		})
	}
	return nil
}

// difference is nil when both are the same, or tells the first lines that differ.
func difference(got, want []string) error {
	for i := range max(len(got), len(want)) {
		g, w := "(nothing)", "(nothing)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Errorf("line %d of %d and %d: %s, where %s was", i+1, len(got), len(want), g, w)
		}
	}
	return nil
}
