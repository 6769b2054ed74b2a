package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/node"
)

// The amount of work of one stress run.
const (
	stressWriters = 4
	stressRecords = 1500 // of each writer
	stressTopics  = 12   // created and deleted while the others work
)

func startNode(t *testing.T) *node.Node {
	t.Helper()
	cfg, err := config.NewBroker(config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": filepath.Join(t.TempDir(), "data"),
		"listeners":                 "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
		"controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": "localhost:9093",
		"offsets.topic.replication.factor": "1", "offsets.topic.num.partitions": "2", "group.initial.rebalance.delay.ms": "0",
		"moldau.journal.segment.bytes": "1048576", "moldau.tail.bytes": "1048576", "log.segment.bytes": "1048576",
	})
	if err != nil {
		t.Fatal(err)
	}
	world := &clock.Real{}
	n, err := node.Start(node.Options{Config: cfg, FS: vfs.NewOS(), World: world, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		world.Wait()
	})
	return n
}

func connect(t *testing.T, n *node.Node, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(n.Addr()), kgo.MetadataMinAge(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestStress has writers, readers, and an administrator at work at the same
// time. What was acknowledged is read back once and in order; the rest is for
// the race detector.
func TestStress(t *testing.T) {
	n := startNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	admin := kadm.NewClient(connect(t, n))
	if _, err := admin.CreateTopics(ctx, 6, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	for w := range stressWriters {
		c := connect(t, n, kgo.DefaultProduceTopic("kept"), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(50),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))
		work.Go(func() { write(ctx, t, c, w) })
	}
	for r := range 3 {
		opts := []kgo.Opt{kgo.ConsumeTopics("kept"), kgo.FetchMaxWait(200 * time.Millisecond)}
		switch r {
		case 1:
			opts = append(opts, kgo.FetchMinBytes(4000), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		case 2:
			opts = append(opts, kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		}
		c := connect(t, n, opts...)
		work.Go(func() { read(ctx, t, c) })
	}
	work.Go(func() { administer(ctx, t, n) })
	work.Wait()
}

// write produces numbered records and waits for all of them.
func write(ctx context.Context, t *testing.T, c *kgo.Client, writer int) {
	var sent sync.WaitGroup
	for i := range stressRecords {
		sent.Add(1)
		rec := &kgo.Record{Key: strconv.AppendInt(nil, int64(writer), 10), Value: fmt.Appendf(nil, "%08d", i), Partition: int32(writer)}
		c.Produce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("writer %d: %v", writer, err)
			}
			sent.Done()
		})
	}
	sent.Wait()
}

// read expects each writer's records once and in order.
func read(ctx context.Context, t *testing.T, c *kgo.Client) {
	next := make(map[int32]int)
	for missing := stressWriters * stressRecords; missing > 0; {
		fetches := c.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Errorf("reading: %v", e.Err)
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := fmt.Sprintf("%08d", next[r.Partition]); string(r.Value) != want {
				t.Errorf("partition %d offset %d: %s, want %s", r.Partition, r.Offset, r.Value, want)
			}
			next[r.Partition]++
			missing--
		})
		if t.Failed() {
			return
		}
	}
}

// administer creates topics, uses them from several sides, and deletes them meanwhile.
func administer(ctx context.Context, t *testing.T, n *node.Node) {
	admin := kadm.NewClient(connect(t, n))
	for i := range stressTopics {
		name := fmt.Sprintf("gone-%d", i%3) // names come again
		if _, err := admin.CreateTopic(ctx, 3, 1, nil, name); err != nil {
			t.Errorf("creating %s: %v", name, err)
			return
		}
		reader := connect(t, n, kgo.ConsumeTopics(name), kgo.FetchMaxWait(5*time.Second))
		writer := connect(t, n, kgo.RecordRetries(3), kgo.ProducerLinger(0), kgo.DefaultProduceTopic(name))
		var use sync.WaitGroup
		first := make(chan struct{}, 1)
		polling, stop := context.WithCancel(ctx)
		use.Go(func() { // errors are expected here: the topic goes away
			for polling.Err() == nil {
				reader.PollFetches(polling)
			}
		})
		use.Go(func() {
			for polling.Err() == nil {
				err := writer.ProduceSync(polling, kgo.StringRecord("x")).FirstErr()
				select {
				case first <- struct{}{}:
				default:
				}
				if err != nil {
					return
				}
			}
		})
		<-first
		_, err := admin.DeleteTopic(ctx, name)
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("deleting %s: %v", name, err)
		}
		stop()
		use.Wait()
	}
}
