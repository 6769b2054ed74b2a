package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

const (
	openIDs     = 10_000
	openClients = 16 // connections that open them
)

// txnIDsRow is the memory that open transactions of many transactional ids need.
func txnIDsRow() *row {
	return &row{
		name: "txnids", arms: twoArms(), alone: true, rounds: 1, measure: openTransactions,
		lines: []line{{
			what: fmt.Sprintf("resident memory with %d open transactions, each of a transactional id of its own", openIDs), metric: "open_mb", unit: "MB", ours: 0, theirs: 1, goal: goal{oursMost, 100},
		}},
	}
}

// openTransactions opens them on a server of its own.
func openTransactions(b *bench, a arm, _ time.Duration) (sample, error) {
	v, err := b.fleet.launch(a.side, "txnids-")
	if err != nil {
		return nil, err
	}
	t, err := createTopic(v.addr, "open", 1, nil)
	if err != nil {
		return nil, v.explain(err)
	}
	if _, err := newTransactor(t, "first"); err != nil { // which makes the coordinator's topic
		return nil, v.explain(err)
	}
	failed := make([]error, openClients)
	var wg sync.WaitGroup
	for c := range openClients {
		wg.Go(func() {
			for i := c; i < openIDs && failed[c] == nil; i += openClients {
				failed[c] = openOne(t, fmt.Sprintf("producer-%d", i))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, v.explain(err)
	}
	m, err := memoryOf(v.pid)
	if err != nil {
		return nil, err
	}
	return sample{"open_mb": m.resident, "anonymous_mb": m.anonymous, "peak_mb": m.peak}, v.discard()
}

// openOne begins a transaction and goes away.
func openOne(t *topic, id string) error {
	x, err := newTransactor(t, id)
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	defer x.Close()
	req := &wire.AddPartitionsToTxnRequest{
		V3AndBelowTransactionalID: id, V3AndBelowProducerID: x.producer, V3AndBelowProducerEpoch: x.epoch,
		V3AndBelowTopics: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: t.name, Partitions: []int32{0}}},
	}
	var resp wire.AddPartitionsToTxnResponse
	if err := x.call(req, &resp, 3); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	if code := resp.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode; code != wire.None {
		return fmt.Errorf("%s: %w", id, code)
	}
	return nil
}
