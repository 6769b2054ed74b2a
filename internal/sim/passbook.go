package sim

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/sim/isolation"
)

// entry is what a reader has of one account.
type entry struct {
	version isolation.Version
	offset  int64
	balance int64
}

// passbook is a reader's view of all accounts: the latest record of each, up to a position in every partition.
type passbook struct {
	port
	r         *bankRun
	committed bool // it reads committed data only
	accounts  [bankAccounts]entry
	position  [bankParts]int64
	// target is where the reader is to get to before it is fresh: the ends of the partitions as they were when it began to
	// catch up at startedAt; -1 where that is not known yet.
	target    [bankParts]int64
	startedAt int64
	// stable is the last stable offset of each partition as the last answer had it, high the high watermark.
	stable, high [bankParts]int64
}

// restart forgets everything read.
func (l *passbook) restart() {
	l.position = [bankParts]int64{}
	for i := range l.accounts {
		l.accounts[i] = entry{balance: bankDeposit}
	}
}

// aim begins to catch up.
func (l *passbook) aim() {
	l.startedAt = l.r.tick()
	for p := range l.target {
		l.target[p] = -1
	}
}

// fresh says that the reader has caught up.
func (l *passbook) fresh() bool {
	for p, target := range l.target {
		if target < 0 || l.position[p] < target {
			return false
		}
	}
	return true
}

// read is what a transaction reads at an account now.
func (l *passbook) read(account int, fresh bool) isolation.Read {
	p := accountPart(account)
	e := l.accounts[account]
	return isolation.Read{
		Key: accountKey(account), Version: e.version, Offset: e.offset, Partition: p, Position: l.position[p], Fresh: fresh, StartedAt: l.startedAt,
	}
}

// poll reads on, a little; done is told when the answer is there.
func (l *passbook) poll(done func(error)) {
	req, resp := &wire.FetchRequest{}, &wire.FetchResponse{}
	req.SetDefaults()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	if l.committed {
		req.IsolationLevel = 1
	}
	topic := wire.FetchRequestFetchTopic{Topic: bankTopic}
	for p := range int32(bankParts) {
		part := wire.FetchRequestFetchPartition{}
		part.SetDefaults()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, l.position[p], 200+l.r.rng.Int32N(6000)
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = []wire.FetchRequestFetchTopic{topic}
	l.ask(req, fetchLevel, resp, func(err error) {
		if err == nil {
			err = l.absorb(resp)
		}
		done(err)
	})
}

func (l *passbook) absorb(resp *wire.FetchResponse) error {
	if resp.ErrorCode != wire.None {
		return resp.ErrorCode
	}
	for i := range resp.Responses[0].Partitions {
		part := &resp.Responses[0].Partitions[i]
		switch part.ErrorCode {
		case wire.None:
		case wire.NotLeaderOrFollower, wire.KafkaStorageError:
			continue // the node is starting, or its power is being cut
		default:
			return fmt.Errorf("fetching %s-%d at %d: %w", bankTopic, part.PartitionIndex, l.position[part.PartitionIndex], part.ErrorCode)
		}
		p := part.PartitionIndex
		l.stable[p], l.high[p] = part.LastStableOffset, part.HighWatermark
		if l.target[p] < 0 {
			l.target[p] = part.HighWatermark
		}
		next, err := walkVisible(part, l.position[p], l.committed, func(rec *record.Record) { l.take(p, rec) })
		if err != nil {
			return fmt.Errorf("reading %s-%d at %d: %w", bankTopic, p, l.position[p], err)
		}
		l.position[p] = next
	}
	return nil
}

// take takes one record over.
func (l *passbook) take(p int32, rec *record.Record) {
	account := int(rec.Key[0] - 'a')
	v := isolation.Version{Txn: int(binary.BigEndian.Uint32(rec.Value)), Step: int(binary.BigEndian.Uint32(rec.Value[4:]))}
	l.accounts[account] = entry{version: v, offset: rec.Offset, balance: int64(binary.BigEndian.Uint64(rec.Value[8:]))}
	l.r.history.See(isolation.Place{Partition: p, Offset: rec.Offset}, v, l.committed)
}

// readAll reads all partitions to their ends from the beginning, and demands that no transaction is open.
func (l *passbook) readAll() error {
	l.reset()
	l.restart()
	l.aim()
	for range 10_000 {
		var failed error
		answered := false
		l.poll(func(err error) { answered, failed = true, err })
		l.r.until(func() bool { return answered })
		if !answered {
			return errNoAnswer
		}
		if failed != nil {
			return failed
		}
		if l.fresh() {
			break
		}
		l.r.hand.Advance(time.Millisecond)
	}
	for p := range l.position {
		if l.stable[p] != l.high[p] || l.position[p] < l.high[p] {
			return fmt.Errorf("%s-%d: a transaction hangs: the last stable offset is %d, the high watermark %d, a reader is at %d",
				bankTopic, p, l.stable[p], l.high[p], l.position[p])
		}
	}
	return nil
}

// walkVisible gives the records of an answer that a reader sees who begins at an offset, and where it goes on.
func walkVisible(part *wire.FetchResponsePartitionData, from int64, committed bool, each func(*record.Record)) (next int64, err error) {
	next = from
	var scratch []byte
	aborted := map[int64]bool{}
	starts := part.AbortedTransactions
	slices.SortFunc(starts, func(a, b wire.FetchResponseAbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	for b := part.Records; len(b) > 0; {
		batch, rest, err := record.Next(b)
		if errors.Is(err, record.ErrShort) {
			return next, nil
		}
		if err != nil {
			return next, err
		}
		for len(starts) > 0 && starts[0].FirstOffset <= batch.LastOffset() {
			aborted[starts[0].ProducerID] = true
			starts = starts[1:]
		}
		next, b = max(next, batch.LastOffset()+1), rest
		if batch.IsControl() {
			if m, ok, err := batch.EndTxnMarker(); err != nil || ok && !m.Commit {
				delete(aborted, batch.ProducerID())
			}
			continue
		}
		if committed && batch.IsTransactional() && aborted[batch.ProducerID()] {
			continue
		}
		it, err := batch.Iterate(&scratch, 1<<20)
		if err != nil {
			return next, err
		}
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			if rec.Offset >= from {
				each(&rec)
			}
		}
		if err := it.Err(); err != nil {
			return next, err
		}
	}
	return next, nil
}
