package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// limit bounds one step.
const limit = time.Minute

// franz is franz-go.
type franz struct{ addr, prefix string }

func (f *franz) producer() (*kgo.Client, error) {
	return kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.TransactionalID(f.prefix+"-id"), kgo.TransactionTimeout(20*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

// produce begins a transaction and writes.
func (f *franz) produce(ctx context.Context, cl *kgo.Client, values ...string) error {
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	for _, v := range values {
		cl.Produce(ctx, &kgo.Record{Topic: f.prefix + "-out", Value: []byte(v)}, nil)
	}
	return cl.Flush(ctx)
}

func (f *franz) write(values []string, commit bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cl, err := f.producer()
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := f.produce(ctx, cl, values...); err != nil {
		return err
	}
	return cl.EndTransaction(ctx, kgo.TransactionEndTry(commit))
}

func (f *franz) fence() (old, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	first, err := f.producer()
	if err != nil {
		return nil, err
	}
	defer first.Close()
	if err := f.produce(ctx, first, "old"); err != nil {
		return nil, err
	}
	if err := f.write([]string{"new"}, true); err != nil {
		return nil, err
	}
	return first.EndTransaction(ctx, kgo.TryCommit), nil
}

func (f *franz) copy() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(f.addr), kgo.TransactionalID(f.prefix+"-copier"), kgo.ConsumerGroup(f.prefix+"-group"),
		kgo.ConsumeTopics(f.prefix+"-in"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(20*time.Second))
	if err != nil {
		return err
	}
	defer s.Close()
	for copied, turn := 0, 0; copied < records; turn++ {
		fs := s.PollRecords(ctx, batch)
		if err := fs.Err(); err != nil {
			return err
		}
		if err := s.Begin(); err != nil {
			return err
		}
		fs.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Topic: f.prefix + "-copy", Partition: r.Partition, Value: r.Value}, nil)
		})
		if err := s.Client().Flush(ctx); err != nil {
			return err
		}
		committed, err := s.End(ctx, kgo.TransactionEndTry(turn%3 != 2))
		if err != nil {
			return err
		}
		if committed {
			copied += fs.NumRecords()
		}
	}
	return nil
}

func (f *franz) read() (values []string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	topic := f.prefix + "-out"
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(topic, 0)
	for next := int64(0); next < end.Offset; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return nil, err
		}
		fs.EachRecord(func(r *kgo.Record) {
			if next = r.Offset + 1; !r.Attrs.IsControl() {
				values = append(values, string(r.Value))
			}
		})
	}
	return values, nil
}
