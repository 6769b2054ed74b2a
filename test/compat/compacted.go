package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The topic of the compaction test: keys that are written again and again, in several segments, and some deleted.
const (
	compactTopic  = "ex-cleaned"
	compactKeys   = 300
	compactRounds = 40
	cleanLimit    = 90 * time.Second
)

var compactConfigs = map[string]string{"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "3600000"}

// compacted has a broker clean a log that clients wrote, Kafka's tool read it, the other serve the same newest values and write more,
// and the first serve those.
func (s *suite) compacted(ctx context.Context, name, other string) error {
	b, err := s.broker(name, "swap-cleaned-"+name)
	if err != nil {
		return err
	}
	if err := b.start(ctx); err != nil {
		return err
	}
	defer b.kill()
	want := map[string]string{}
	if err := errors.Join(createCompacted(ctx, b.addr), writeCompacted(ctx, b.addr, 0, want)); err != nil {
		return err
	}
	if err := b.cleaned(ctx); err != nil {
		return err
	}
	if err := b.newest(ctx, want); err != nil {
		return err
	}
	if err := b.stop(); err != nil {
		return err
	}
	if err := s.dump(ctx, b.dir); err != nil {
		return err
	}
	for i, name := range []string{other, name} {
		next := b.as(name)
		if err := next.start(ctx); err != nil {
			return err
		}
		err := next.newest(ctx, want)
		if err == nil {
			err = writeCompacted(ctx, next.addr, i+1, want)
		}
		if err == nil {
			err = next.newest(ctx, want)
		}
		if err = errors.Join(err, next.stop()); err != nil {
			return fmt.Errorf("%s on the cleaned directory: %w", name, err)
		}
	}
	return nil
}

func createCompacted(ctx context.Context, addr string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	configs := map[string]*string{}
	for k, v := range compactConfigs {
		configs[k] = &v
	}
	_, err = kadm.NewClient(cl).CreateTopic(ctx, 1, 1, configs, compactTopic)
	return err
}

// writeCompacted writes every key in each round, with the codecs in turn; in the last round some keys are deleted.
func writeCompacted(ctx context.Context, addr string, turn int, want map[string]string) error {
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	for round := range compactRounds {
		opts := []kgo.Opt{kgo.SeedBrokers(addr), kgo.ProducerBatchCompression(codecs[round%len(codecs)]), kgo.ProducerBatchMaxBytes(50_000)}
		if round%2 == 1 {
			opts = append(opts, kgo.DisableIdempotentWrite())
		}
		cl, err := kgo.NewClient(opts...)
		if err != nil {
			return err
		}
		var records []*kgo.Record
		for k := range compactKeys {
			key := fmt.Sprintf("key-%d", k)
			value := fmt.Appendf(make([]byte, 0, 600), "turn %d round %d key %d %x", turn, round, k, noise(turn*1_000_000+round*1000+k))
			if round == compactRounds-1 && k%7 == turn {
				value = nil
				delete(want, key)
			} else {
				want[key] = string(value)
			}
			records = append(records, &kgo.Record{Topic: compactTopic, Key: []byte(key), Value: value})
		}
		err = cl.ProduceSync(ctx, records...).FirstErr()
		cl.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// noise is bytes that no codec makes small, so that segments fill.
func noise(seed int) []byte {
	out := make([]byte, 200)
	x := uint64(seed)*2654435761 + 1
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x)
	}
	return out
}

// cleaned waits until the log has at most half of the records that were written.
func (b *broker) cleaned(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		n := 0
		err := b.readCompacted(ctx, func(*kgo.Record) { n++ })
		if err != nil {
			return err
		}
		if n <= compactKeys*compactRounds/2 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s has not cleaned the log after %v: %d records are left of %d", b.name, cleanLimit, n, compactKeys*compactRounds)
		}
	}
}

// readCompacted reads the whole topic.
func (b *broker) readCompacted(ctx context.Context, each func(*kgo.Record)) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{compactTopic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, compactTopic)
	if err != nil {
		return err
	}
	for next := int64(0); next < ends[compactTopic][0].Offset; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		for _, r := range fs.Records() {
			if r.Offset < next {
				return fmt.Errorf("offset %d comes after %d", r.Offset, next-1)
			}
			next = r.Offset + 1
			each(r)
		}
	}
	return nil
}

// newest compares the newest value of every key.
func (b *broker) newest(ctx context.Context, want map[string]string) error {
	got := map[string]string{}
	err := b.readCompacted(ctx, func(r *kgo.Record) {
		if r.Value == nil {
			delete(got, string(r.Key))
		} else {
			got[string(r.Key)] = string(r.Value)
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	if maps.Equal(got, want) {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			return fmt.Errorf("%s: %s is %.60q, not %.60q (%d keys, not %d)", b.name, key, got[key], want[key], len(got), len(want))
		}
	}
	return fmt.Errorf("%s: %d keys, not %d: some that were deleted are back", b.name, len(got), len(want))
}
