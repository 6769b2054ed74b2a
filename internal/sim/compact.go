package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// CompactResult is what one run of compaction did.
type CompactResult struct {
	Ends
	// Acked counts records, Tombstones those among them that delete a key, Unknown those whose producer cannot know.
	Acked, Tombstones, Unknown int
	// Removed counts acknowledged records that compaction has taken away, Buried tombstones among them.
	Removed, Buried int
	// Cleaned counts offsets that compaction has passed.
	Cleaned int64
}

// Add adds what another run did.
func (r *CompactResult) Add(o CompactResult) {
	r.add(o.Ends)
	r.Acked += o.Acked
	r.Tombstones, r.Unknown = r.Tombstones+o.Tombstones, r.Unknown+o.Unknown
	r.Removed, r.Buried, r.Cleaned = r.Removed+o.Removed, r.Buried+o.Buried, r.Cleaned+o.Cleaned
}

// Vacuous tells that a path was never taken.
func (r *CompactResult) Vacuous() bool {
	return r.Kills == 0 || r.PowerCuts == 0 || r.Acked == 0 || r.Tombstones == 0 || r.Unknown == 0 || r.Removed == 0 || r.Buried == 0 || r.Cleaned == 0
}

// Shape of a run of compaction.
const (
	compactTopic = "kept"
	compactParts = 2
	compactKeys  = 20
	compactSteps = 250
	// compactRetention is delete.retention.ms: a tombstone is there that long, after the cleaner has seen it.
	compactRetention = 5 * time.Second
)

// keyedRecord is what is known of one record that was sent.
type keyedRecord struct {
	number uint64 // unlike any other's of the partition; they count up
	key    byte
	delete bool
	acked  bool
	offset int64 // when acked or seen, -1 before
	gone   bool  // a reader has not found it
}

// keyedLog is what clients know of one partition; its producer sends in order, one batch at a time.
type keyedLog struct {
	port
	index   int32
	next    uint64
	records []*keyedRecord // by number
}

// compactRun is one seed's life: keys are written and deleted while the cleaner runs and the node dies at any point.
type compactRun struct {
	*Rig
	rng    *rand.Rand
	logs   []*keyedLog
	result CompactResult
}

// RunCompaction plays one seed.
func RunCompaction(rig *Rig) (CompactResult, error) {
	r := &compactRun{Rig: rig, rng: rand.New(rand.NewPCG(rig.seed, 107))}
	r.setAll("log.cleaner.backoff.ms", "300", "log.cleaner.threads", "2")
	for p := range int32(compactParts) {
		r.logs = append(r.logs, &keyedLog{port: port{rig: rig}, index: p})
	}
	err := rig.play(r.live, r.finish)
	return r.result, err
}

func (r *compactRun) live(life int) error {
	if err := r.begin(); err != nil {
		return err
	}
	if life == 0 {
		if _, err := r.createTopic(compactTopic, compactParts, "cleanup.policy", "compact", "internal.segment.bytes", "1500",
			"min.cleanable.dirty.ratio", "0.01", "file.delete.delay.ms", "100", "delete.retention.ms", fmt.Sprint(compactRetention.Milliseconds())); err != nil {
			return err
		}
	}
	if err := r.verify(); err != nil {
		return err
	}
	planned := r.rng.IntN(2) == 0
	if planned {
		r.disk.CutAt(1 + r.rng.Int64N(900))
	}
	for range compactSteps {
		if l := r.logs[r.rng.IntN(len(r.logs))]; !l.busy {
			r.produce(l)
		}
		for range r.rng.IntN(8) {
			r.hand.RunOne()
		}
		if r.rng.IntN(3) == 0 {
			r.hand.Advance(time.Duration(r.rng.Int64N(int64(300 * time.Millisecond))))
		}
		if !planned && r.rng.IntN(60) == 0 {
			if err := r.verify(); err != nil { // while the cleaner is at work
				return err
			}
		}
	}
	r.end(&r.result.Ends, planned || r.rng.IntN(2) == 0)
	return nil
}

// begin boots; now and then the power is cut meanwhile, or soon after: while the cleaner goes on.
func (r *compactRun) begin() error {
	if err := r.bootThrough(&r.result.Ends, r.rng, cuts{odds: 3, writes: 300, within: 2 * time.Second}); err != nil {
		return err
	}
	for _, l := range r.logs {
		if l.busy {
			r.result.Unknown++
		}
		l.reset()
	}
	return nil
}

// produce sends a batch of a few records, one in eight of which deletes its key.
func (r *compactRun) produce(l *keyedLog) {
	codec := []compress.Codec{compress.None, compress.LZ4, compress.Zstd}[r.rng.IntN(3)]
	b := record.NewBuilder(nil, record.Options{Codec: codec, Level: compress.DefaultLevel})
	var batch []*keyedRecord
	for range 1 + r.rng.IntN(6) {
		rec := &keyedRecord{number: l.next, key: byte(r.rng.IntN(compactKeys)), delete: r.rng.IntN(8) == 0, offset: -1}
		l.next++
		batch = append(batch, rec)
		var value []byte
		if !rec.delete {
			value = append(binary.BigEndian.AppendUint64(nil, rec.number), bytes.Repeat([]byte{rec.key}, r.rng.IntN(200))...)
		}
		b.Append(clock.Millis(r.hand.Now()), []byte{'k', rec.key}, value)
	}
	l.records = append(l.records, batch...)
	records, err := b.Finish()
	invariant.Check(err == nil, "a batch of a few keys: %v", err)
	req := &wire.ProduceRequest{}
	req.SetDefaults()
	req.Acks, req.TimeoutMs = -1, 10_000
	req.TopicData = []wire.ProduceRequestTopicProduceData{{
		Name: compactTopic, PartitionData: []wire.ProduceRequestPartitionProduceData{{Index: l.index, Records: records}},
	}}
	resp := &wire.ProduceResponse{}
	l.ask(req, produceLevel, resp, func(err error) {
		if err != nil {
			return
		}
		part := &resp.Responses[0].PartitionResponses[0]
		if part.ErrorCode != wire.None {
			return
		}
		for i, rec := range batch {
			rec.acked, rec.offset = true, part.BaseOffset+int64(i)
			if rec.delete {
				r.result.Tombstones++
			}
		}
		r.result.Acked += len(batch)
	})
}

// keyed is one record as a reader finds it.
type keyed struct {
	offset int64
	key    byte
	number uint64
	delete bool
}

// verify reads all partitions from the beginning.
func (r *compactRun) verify() error {
	for _, l := range r.logs {
		got, end, err := r.read(l)
		if err != nil {
			return fmt.Errorf("%s-%d: %w", compactTopic, l.index, err)
		}
		if err := l.check(got, end, r); err != nil {
			return fmt.Errorf("%s-%d: %w", compactTopic, l.index, err)
		}
	}
	return nil
}

// read fetches a partition up to its high watermark; offsets must ascend.
func (r *compactRun) read(l *keyedLog) (got []keyed, end int64, err error) {
	offset := int64(0)
	for {
		req, resp := &wire.FetchRequest{}, &wire.FetchResponse{}
		req.SetDefaults()
		req.MaxBytes, req.SessionEpoch = 1<<20, -1
		part := wire.FetchRequestFetchPartition{}
		part.SetDefaults()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = l.index, offset, 4096
		req.Topics = []wire.FetchRequestFetchTopic{{Topic: compactTopic, Partitions: []wire.FetchRequestFetchPartition{part}}}
		if err := r.Call(req, fetchLevel, resp); err != nil {
			return got, 0, err
		}
		p := &resp.Responses[0].Partitions[0]
		if p.ErrorCode != wire.None {
			return got, 0, fmt.Errorf("fetching at %d: %w", offset, p.ErrorCode)
		}
		if offset >= p.HighWatermark {
			return got, p.HighWatermark, nil
		}
		next, err := walkKeyed(p.Records, offset, func(k keyed) { got = append(got, k) })
		if err != nil {
			return got, 0, fmt.Errorf("fetched at %d: %w", offset, err)
		}
		if next == offset {
			return got, 0, fmt.Errorf("nothing at %d, below the high watermark %d", offset, p.HighWatermark)
		}
		offset = next
	}
}

// walkKeyed gives the records of fetched bytes from an offset on.
func walkKeyed(b []byte, from int64, each func(keyed)) (next int64, err error) {
	next = from
	var scratch []byte
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if errors.Is(err, record.ErrShort) {
			return next, nil
		}
		if err != nil {
			return next, err
		}
		if err := batch.CheckCRC(); err != nil {
			return next, err
		}
		it, err := batch.Iterate(&scratch, 1<<20)
		if err != nil {
			return next, err
		}
		for rec, ok := it.Next(); ok; rec, ok = it.Next() {
			if rec.Offset < from {
				continue
			}
			k := keyed{offset: rec.Offset, key: rec.Key[1], delete: rec.Value == nil}
			if !k.delete {
				k.number = binary.BigEndian.Uint64(rec.Value)
			}
			each(k)
		}
		if err := it.Err(); err != nil {
			return next, err
		}
		next, b = batch.LastOffset()+1, rest
	}
	return next, nil
}

// finish lets the cleaner have its way, and checks a last time, also after a clean stop.
func (r *compactRun) finish() error {
	for range 2 {
		if err := r.begin(); err != nil {
			return err
		}
		if err := r.verify(); err != nil {
			return err
		}
		r.hand.Advance(2 * compactRetention)
		if err := r.verify(); err != nil {
			return err
		}
		if err := r.Stop(); err != nil {
			return err
		}
	}
	r.result.Cleaned = r.cleanedUpTo(compactTopic)
	for _, l := range r.logs {
		for _, rec := range l.records {
			if rec.acked && rec.gone {
				r.result.Removed++
				if rec.delete {
					r.result.Buried++
				}
			}
		}
	}
	return nil
}

// check holds what a reader finds against what is known.
func (l *keyedLog) check(got []keyed, end int64, r *compactRun) error {
	at := make(map[int64]*keyedRecord, len(l.records))
	for _, rec := range l.records {
		if rec.offset >= 0 {
			at[rec.offset] = rec
		}
	}
	last := int64(-1)
	found := map[int64]bool{}
	for _, k := range got {
		if k.offset <= last {
			return fmt.Errorf("offset %d follows %d", k.offset, last)
		}
		last = k.offset
		rec := at[k.offset]
		if rec == nil { // its producer was not told
			if rec = l.untold(k); rec == nil {
				return fmt.Errorf("offset %d has %+v, which nobody sent", k.offset, k)
			}
			rec.offset = k.offset
			at[k.offset] = rec
		}
		if rec.key != k.key || rec.delete != k.delete || !k.delete && rec.number != k.number {
			return fmt.Errorf("offset %d has %+v, was to have %+v", k.offset, k, *rec)
		}
		if rec.gone {
			return fmt.Errorf("CAME BACK: offset %d (key %d, number %d) was compacted away and is there again", k.offset, k.key, rec.number)
		}
		found[k.offset] = true
	}
	return l.checkLatest(at, found, end)
}

// untold finds a record that may be there although its producer was not told.
func (l *keyedLog) untold(k keyed) *keyedRecord {
	for _, rec := range l.records {
		if !rec.acked && rec.offset < 0 && rec.key == k.key && rec.delete == k.delete && (k.delete || rec.number == k.number) {
			return rec
		}
	}
	return nil
}

// checkLatest demands that the latest record of each key is there, unless it deletes the key; what is missing is gone for good.
func (l *keyedLog) checkLatest(at map[int64]*keyedRecord, found map[int64]bool, end int64) error {
	latest := map[byte]*keyedRecord{}
	for offset, rec := range at { //unordered: the greatest offset of each key
		if offset >= end {
			return fmt.Errorf("LOST: offset %d was acknowledged or seen, the log ends at %d", offset, end)
		}
		if was := latest[rec.key]; was == nil || was.offset < offset {
			latest[rec.key] = rec
		}
	}
	for offset, rec := range at { //unordered: any violation will do
		if found[offset] {
			continue
		}
		rec.gone = true
		if latest[rec.key] == rec && !rec.delete {
			return fmt.Errorf("LOST: key %d is to have number %d of offset %d, which is not there", rec.key, rec.number, offset)
		}
	}
	return nil
}
