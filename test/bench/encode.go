package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// The versions that the load speaks: those of current clients, where nothing newer changes what a request costs.
const (
	produceVersion  = 12
	fetchVersion    = 16
	metadataVersion = 12
	correlationAt   = 8 // where a request frame holds its correlation id
)

// newBatch makes one uncompressed batch of equal records without keys.
func newBatch(records, valueSize int) (record.Batch, error) {
	value := make([]byte, valueSize)
	for i := range value {
		value[i] = byte('!' + i*7%90)
	}
	w := record.NewBuilder(nil, record.Options{LeaderEpoch: record.NoLeaderEpoch})
	now := time.Now().UnixMilli()
	for range records {
		w.Append(now, nil, value)
	}
	return w.Finish()
}

// requestSet is Produce requests made once and sent again and again. All of its frames have the same size.
type requestSet struct {
	frames  [][]byte
	records int // of one request
	bytes   int // record batches of one request
}

// newRequestSet spreads the batch over the topic: each request carries it to the next perRequest partitions, and the
// requests together go once around.
func newRequestSet(t *topic, perRequest int, batch record.Batch) (*requestSet, error) {
	if perRequest < 1 || t.partitions%perRequest != 0 {
		return nil, fmt.Errorf("%d partitions cannot be spread over requests of %d partitions: take a divisor", t.partitions, perRequest)
	}
	set := &requestSet{records: perRequest * int(batch.Count()), bytes: perRequest * len(batch)}
	for first := 0; first < t.partitions; first += perRequest {
		data := make([]wire.ProduceRequestPartitionProduceData, perRequest)
		for i := range data {
			data[i] = wire.ProduceRequestPartitionProduceData{Index: int32(first + i), Records: batch}
		}
		body := &wire.ProduceRequest{
			Acks: 1, TimeoutMs: 30_000,
			TopicData: []wire.ProduceRequestTopicProduceData{{Name: t.name, PartitionData: data}},
		}
		header := &wire.RequestHeader{APIKey: wire.KeyProduce, APIVersion: produceVersion, ClientID: clientID}
		set.frames = append(set.frames, wire.AppendRequestFrame(nil, header, body))
	}
	return set, nil
}

// ring is one connection's copy of the requests, one behind the other, so that several leave with one write.
type ring struct {
	buf  []byte
	size int // of one frame
	n    int // frames
	next int
}

// newRing repeats the set until atLeast requests fit, and begins at the given one.
func newRing(set *requestSet, atLeast, begin int) *ring {
	r := &ring{size: len(set.frames[0])}
	for r.n < atLeast || r.n%len(set.frames) != 0 {
		r.buf = append(r.buf, set.frames[r.n%len(set.frames)]...)
		r.n++
	}
	r.next = begin % r.n
	return r
}

// take numbers the next requests from correlation on and returns the bytes of as many as lie in one piece, at most k.
func (r *ring) take(k int, correlation int32) (piece []byte, taken int) {
	taken = min(k, r.n-r.next)
	piece = r.buf[r.next*r.size : (r.next+taken)*r.size]
	for i := range taken {
		binary.BigEndian.PutUint32(piece[i*r.size+correlationAt:], uint32(correlation)+uint32(i))
	}
	r.next = (r.next + taken) % r.n
	return piece, taken
}
