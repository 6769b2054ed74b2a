package main

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

const (
	fetchBytes  = 1 << 20 // what a large fetch asks for
	fetchWaitMs = 500
	// peekHead is more than any response of one partition has before its records.
	peekHead = 256
)

// bulkFetch reads partition after partition from its begin to its end, again and again, and drops what it reads. It
// checks each response's head and the offset of its first batch, and that all its bytes arrive.
type bulkFetch struct {
	topic    *topic
	bytes    atomic.Int64 // of records
	requests atomic.Int64

	stopping atomic.Bool
	wg       sync.WaitGroup
	mu       sync.Mutex // guards err
	err      error
}

// startBulkFetch starts as many connections; connection i reads partition i.
func startBulkFetch(t *topic, conns int) (*bulkFetch, error) {
	f := &bulkFetch{topic: t}
	for i := range conns {
		c, err := dial(t.addr)
		if err != nil {
			return nil, errors.Join(err, f.finish())
		}
		f.wg.Go(func() {
			defer c.Close()
			if err := f.run(c, int32(i%t.partitions)); err != nil {
				f.mu.Lock()
				f.err = fmt.Errorf("fetch from %s-%d: %w", t.name, i%t.partitions, err)
				f.mu.Unlock()
			}
		})
	}
	return f, nil
}

func (f *bulkFetch) finish() error {
	f.stopping.Store(true)
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *bulkFetch) run(c *conn, partition int32) error {
	drop, err := newDropper(c)
	if err != nil {
		return err
	}
	offset := int64(0)
	for !f.stopping.Load() {
		if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
			return err
		}
		if err := c.send(fetchOne(f.topic, partition, offset), fetchVersion); err != nil {
			return err
		}
		next, n, err := readBulk(c, drop, offset)
		if err != nil {
			return fmt.Errorf("at offset %d: %w", offset, err)
		}
		f.bytes.Add(int64(n))
		f.requests.Add(1)
		offset = next
	}
	return nil
}

// fetchOne is a request for one partition outside any session.
func fetchOne(t *topic, partition int32, offset int64) *wire.FetchRequest {
	req := &wire.FetchRequest{}
	req.SetDefaults()
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = fetchWaitMs, 1, 50<<20
	req.SessionEpoch = -1
	req.Topics = []wire.FetchRequestFetchTopic{{TopicID: t.id, Partitions: []wire.FetchRequestFetchPartition{fetchAt(partition, offset)}}}
	return req
}

func fetchAt(partition int32, offset int64) wire.FetchRequestFetchPartition {
	var p wire.FetchRequestFetchPartition
	p.SetDefaults()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, fetchBytes
	return p
}

// bulkHead is what stands before the records of a response for one partition.
type bulkHead struct {
	size          int // of the head in bytes, with the frame's length
	frame         int // of the whole frame, with its length
	code          wire.Code
	highWatermark int64
	records       int // bytes
}

// parseBulkHead reads the head out of the first bytes of a response.
func parseBulkHead(b []byte, correlation int32) (bulkHead, error) {
	r := wire.NewReader(b)
	h := bulkHead{frame: 4 + int(r.Int32())}
	if got, err := wire.DecodeResponseHeader(r, wire.KeyFetch, fetchVersion); err != nil || got != correlation {
		return h, fmt.Errorf("response %d came where %d was due: %w", got, correlation, err)
	}
	r.Int32() // throttle time
	h.code = wire.Code(r.Int16())
	r.Int32() // session
	if topics := r.Uvarint(); h.code != 0 || topics != 2 {
		return h, fmt.Errorf("%v, and not one topic", h.code)
	}
	r.UUID()
	if partitions := r.Uvarint(); partitions != 2 {
		return h, errors.New("not one partition in the response")
	}
	r.Int32() // index
	h.code = wire.Code(r.Int16())
	h.highWatermark = r.Int64()
	r.Int64() // last stable offset
	r.Int64() // log start offset
	if aborted := r.Uvarint(); aborted > 1 {
		return h, errors.New("aborted transactions in a log that has none")
	}
	r.Int32() // preferred replica
	h.records = int(r.Uvarint()) - 1
	h.size = r.Offset()
	if err := r.Err(); err != nil {
		return h, err
	}
	if h.code != 0 {
		return h, h.code
	}
	return h, nil
}

// readBulk reads the response and drops its records. All batches have the size of the first, so that its head tells
// where the next fetch begins; at the end that is offset 0 again.
func readBulk(c *conn, drop *dropper, offset int64) (next int64, records int, err error) {
	head, err := c.in.Peek(4)
	if err != nil {
		return 0, 0, err
	}
	frame := 4 + int(binary.BigEndian.Uint32(head))
	if head, err = c.in.Peek(min(frame, peekHead)); err != nil {
		return 0, 0, err
	}
	h, err := parseBulkHead(head, c.correlation)
	if err != nil {
		return 0, 0, err
	}
	if h.records < record.HeaderSize || len(head) < h.size+record.HeaderSize {
		return 0, 0, fmt.Errorf("%d bytes of records, less than the head of a batch; the high watermark is %d", h.records, h.highWatermark)
	}
	batch := record.Batch(head[h.size : h.size+record.HeaderSize])
	if first, last := batch.BaseOffset(), batch.LastOffset(); first > offset || last < offset {
		return 0, 0, fmt.Errorf("the first batch holds offsets %d to %d", first, last)
	}
	whole := int64(h.records / batch.Length())
	next = batch.BaseOffset() + whole*int64(batch.Count())
	if whole == 0 || next > h.highWatermark {
		return 0, 0, fmt.Errorf("%d whole batches up to offset %d, the high watermark is %d", whole, next, h.highWatermark)
	}
	if next == h.highWatermark {
		next = 0 // the next fetch would wait for records
	}
	return next, h.records, drop.drop(frame)
}

// dropper takes bytes off a connection without looking at them.
type dropper struct {
	conn   *conn
	raw    rawDropper
	secure bool // over TLS there is no way around decrypting
}

func newDropper(c *conn) (*dropper, error) {
	if _, secure := c.Conn.(*tls.Conn); secure {
		return &dropper{conn: c, secure: true}, nil
	}
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("%T is not a TCP connection", c.Conn)
	}
	raw, err := newRawDropper(tcp)
	return &dropper{conn: c, raw: raw}, err
}

func (d *dropper) drop(n int) error {
	if d.secure {
		_, err := d.conn.in.Discard(n)
		return err
	}
	k, err := d.conn.in.Discard(min(n, d.conn.in.Buffered()))
	if err != nil {
		return err
	}
	return d.raw.drop(n - k)
}

// tail is a consumer at the end of a topic's partitions, in a fetch session, that waits for what comes.
type tail struct {
	topic   *topic
	offsets []int64                                                 // by partition: where to read on
	seen    func(partition int32, batch record.Batch, at time.Time) // called for every batch

	requests, bytes, records atomic.Int64
	stopping                 atomic.Bool
}

// run fetches until it is stopped and the last fetch has been answered.
func (f *tail) run() error {
	c, err := dial(f.topic.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	req, all := &wire.FetchRequest{}, make([]wire.FetchRequestFetchPartition, 0, len(f.offsets))
	req.SetDefaults()
	req.MaxWaitMs, req.MinBytes, req.MaxBytes = fetchWaitMs, 1, 50<<20
	req.SessionEpoch = 0 // a new session
	for p, offset := range f.offsets {
		all = append(all, fetchAt(int32(p), offset))
	}
	req.Topics = []wire.FetchRequestFetchTopic{{TopicID: f.topic.id, Partitions: all}}
	var resp wire.FetchResponse
	for !f.stopping.Load() {
		if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
			return err
		}
		if err := c.call(req, &resp, fetchVersion); err != nil {
			return err
		}
		now := time.Now()
		if resp.ErrorCode != 0 {
			return fmt.Errorf("fetch from %s: %w", f.topic.name, resp.ErrorCode)
		}
		if resp.SessionID == 0 {
			return fmt.Errorf("fetch from %s: the server gives no fetch session", f.topic.name)
		}
		f.requests.Add(1)
		changed := all[:0]
		for i := range resp.Responses {
			for j := range resp.Responses[i].Partitions {
				p := &resp.Responses[i].Partitions[j]
				if err := f.take(p, now); err != nil {
					return fmt.Errorf("fetch from %s-%d: %w", f.topic.name, p.PartitionIndex, err)
				}
				if len(p.Records) > 0 {
					changed = append(changed, fetchAt(p.PartitionIndex, f.offsets[p.PartitionIndex]))
				}
			}
		}
		req.SessionID = resp.SessionID
		req.SessionEpoch++
		req.Topics = req.Topics[:1]
		req.Topics[0].Partitions = changed
		if len(changed) == 0 {
			req.Topics = req.Topics[:0]
		}
	}
	return nil
}

// take walks a partition's batches, which must follow each other without a gap. The high watermark beside them is no
// bound: Kafka gives the one from before it read.
func (f *tail) take(p *wire.FetchResponsePartitionData, now time.Time) error {
	if p.ErrorCode != 0 {
		return p.ErrorCode
	}
	f.bytes.Add(int64(len(p.Records)))
	for rest := p.Records; len(rest) > 0; {
		batch, after, err := record.Next(rest)
		if err != nil {
			return err
		}
		next := &f.offsets[p.PartitionIndex]
		if batch.BaseOffset() != *next {
			return fmt.Errorf("offset %d came where %d was due", batch.BaseOffset(), *next)
		}
		*next = batch.LastOffset() + 1
		f.records.Add(int64(batch.Count()))
		if f.seen != nil {
			f.seen(p.PartitionIndex, batch, now)
		}
		rest = after
	}
	return nil
}
