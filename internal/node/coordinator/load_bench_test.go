package coordinator

import (
	"fmt"
	"sort"
	"testing"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// chunkLog gives what it has in pieces of about the loader's buffer, without copying.
type chunkLog struct {
	memoryLog
	chunks [][]byte
	ends   []int64
}

func (l *chunkLog) Read(from int64, _ []byte) (batches []byte, next int64, err error) {
	i := sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > from })
	return l.chunks[i], l.ends[i], nil
}

// add appends batches.
func (l *chunkLog) add(raw []byte) {
	b := record.Batch(raw)
	b.SetBaseOffset(l.end)
	l.end += int64(b.Count())
	l.high = l.end
	if n := len(l.chunks); n == 0 || len(l.chunks[n-1]) > loadBufferBytes {
		l.chunks, l.ends = append(l.chunks, nil), append(l.ends, 0)
	}
	n := len(l.chunks) - 1
	l.chunks[n], l.ends[n] = append(l.chunks[n], raw...), l.end
}

// BenchmarkLoadOffsets loads a partition with a million offsets of a thousand groups, as commits of 100 offsets each
// have left them.
func BenchmarkLoadOffsets(b *testing.B) {
	const groups, topics, partitions = 1_000, 10, 100
	log := &chunkLog{}
	for g := range groups {
		for t := range topics {
			bb := record.NewBuilder(nil, record.Options{})
			for p := range partitions {
				key := wire.AppendKey(nil, &wire.OffsetCommitKey{Group: fmt.Sprintf("group-%04d", g), Topic: fmt.Sprintf("some.topic.%d", t), Partition: int32(p)})
				value := wire.AppendValue(nil, &wire.OffsetCommitValue{Offset: int64(g * p), LeaderEpoch: 1, CommitTimestamp: 1, ExpireTimestamp: -1}, 4)
				bb.Append(1, key, value)
			}
			raw, err := bb.Finish()
			if err != nil {
				b.Fatal(err)
			}
			log.add(raw)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		r := newRig(&testing.T{}, 1)
		r.groups.Elect(0, 1, log)
		r.world.Run()
		resp := await(r.t, r.groups.OffsetFetch, fetchRequest("group-0007", false), 9)
		if resp.Groups[0].ErrorCode != wire.None {
			b.Fatal(resp.Groups[0].ErrorCode)
		}
	}
}

// BenchmarkOffsetCommitOfTen commits ten partitions at a time, as consumers do.
func BenchmarkOffsetCommitOfTen(b *testing.B) {
	r := newRig(&testing.T{}, 50).elect(1)
	req := commitRequest("g", 1)
	for p := range int32(9) {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, wire.OffsetCommitRequestPartition{PartitionIndex: p + 1, CommittedOffset: 7})
	}
	done := func(*wire.OffsetCommitResponse) {}
	b.ReportAllocs()
	for b.Loop() {
		for _, l := range r.logs {
			l.batches = l.batches[:0]
		}
		r.commit(req, Client{}, 9, done)
	}
}
