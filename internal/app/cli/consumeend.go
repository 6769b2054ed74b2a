package cli

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The last offsets of a partition may hold nothing that a consumer gets: transaction markers, aborted records, batches that
// compaction has emptied. The client passes over them silently, so when it falls silent, what is left is looked at batch by batch.

// maxLookBytes bounds one look.
const maxLookBytes = 1 << 20

// dropEmpty forgets the partitions in which nothing is left to print.
func (c *consuming) dropEmpty(ctx context.Context, cl *kgo.Client) error {
	topics, err := kadm.NewClient(cl).ListTopics(ctx, c.topic)
	if err != nil {
		return err
	}
	detail := topics[c.topic]
	if detail.Err != nil {
		return c.topicError(detail.Err)
	}
	for p, end := range c.left {
		if c.group != "" && !c.assigned.has(p) {
			delete(c.left, p) // another member reads it
			continue
		}
		l := look{topic: c.topic, id: detail.ID, partition: p, committed: c.committed, from: c.next[p], started: c.printedAny[p]}
		empty, err := l.emptyTo(ctx, cl.Broker(int(detail.Partitions[p].Leader)), end)
		if err != nil {
			return fmt.Errorf("%s-%d: %w", c.topic, p, explain(err))
		}
		if empty {
			delete(c.left, p)
		}
	}
	return nil
}

// look is a look at the batches of one partition.
type look struct {
	topic     string
	id        [16]byte
	partition int32
	committed bool
	// from is the first offset that was not printed; started says that one before it was.
	from    int64
	started bool

	aborted map[int64]bool // producers in an aborted transaction
}

// emptyTo tells whether there is no record for a consumer in [from, end).
func (l *look) emptyTo(ctx context.Context, leader *kgo.Broker, end int64) (bool, error) {
	l.aborted = map[int64]bool{}
	for at := l.from; at < end; {
		part, err := l.fetch(ctx, leader, at)
		if err != nil {
			return false, err
		}
		next, empty := l.passEmpty(part, at)
		if !empty || next == at {
			return false, nil
		}
		at = next
	}
	return true, nil
}

// fetch gets batches from an offset on.
func (l *look) fetch(ctx context.Context, leader *kgo.Broker, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes, req.SessionEpoch = -1, maxLookBytes, -1
	if l.committed {
		req.IsolationLevel = 1
	}
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	t.Topic, t.TopicID = l.topic, l.id
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = l.partition, at, maxLookBytes, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := leader.Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, fmt.Errorf("the node answers a fetch of one partition with %d topics", len(resp.Topics))
	}
	part := &resp.Topics[0].Partitions[0]
	return part, kerr.ErrorForCode(part.ErrorCode)
}

// passEmpty goes over batches without records for a consumer; empty is false when there is one with.
func (l *look) passEmpty(part *kmsg.FetchResponseTopicPartition, at int64) (next int64, empty bool) {
	next = at
	for b := part.RecordBatches; len(b) >= 61; {
		h := readBatchHead(b)
		if h.size > len(b) || h.size < 61 {
			break
		}
		b = b[h.size:]
		for _, txn := range part.AbortedTransactions {
			if txn.FirstOffset >= h.first && txn.FirstOffset <= h.last || txn.FirstOffset < h.first && h.first <= at {
				l.aborted[txn.ProducerID] = true
			}
		}
		switch {
		case h.control:
			delete(l.aborted, h.producer)
		case h.magic == 2 && h.count == 0, l.committed && h.transactional && l.aborted[h.producer], l.started && h.first < l.from:
		default:
			return next, false
		}
		next = h.last + 1
	}
	return next, true
}

// batchHead is what has to be known of a batch of format 2 to pass over it.
type batchHead struct {
	first, last, producer  int64
	size                   int
	magic                  int8
	count                  int32
	control, transactional bool
}

func readBatchHead(b []byte) batchHead {
	be := binary.BigEndian
	first, attributes := int64(be.Uint64(b)), be.Uint16(b[21:])
	return batchHead{
		first: first, last: first + int64(int32(be.Uint32(b[23:]))), producer: int64(be.Uint64(b[43:])),
		size: int(int32(be.Uint32(b[8:]))) + 12, magic: int8(b[16]), count: int32(be.Uint32(b[57:])),
		control: attributes&0x20 != 0, transactional: attributes&0x10 != 0,
	}
}
