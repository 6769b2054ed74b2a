package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// Result is what one run did; a run in which nothing happened proves nothing.
type Result struct {
	Ends
	// Acked, Refused and Unknown count records: acknowledged, refused, and present although nobody was told.
	Acked, Refused, Unknown int
	Simulated               time.Duration
}

// Shape of a run.
const (
	livesPerRun  = 4
	maxBatches   = 40
	maxInFlight  = 12
	produceLevel = 12 // version of Produce that goes by name
	fetchLevel   = 12
)

// run is one seed's life.
type run struct {
	*Rig
	rng    *rand.Rand
	parts  []*history
	result Result
	// producer is an idempotent producer's id, -1 when there is none yet.
	producer int64
	sequence map[place]int32
}

// Run plays one seed.
func Run(rig *Rig) (Result, error) {
	r := &run{Rig: rig, rng: rand.New(rand.NewPCG(rig.seed, 77)), producer: -1, sequence: map[place]int32{}}
	err := rig.play(r.live, r.finish)
	return r.result, err
}

// live is one life of the node: boot, check what is there, load, crash.
func (r *run) live(life int) error {
	if err := r.boot(); err != nil {
		return err
	}
	if life == 0 {
		if err := r.create(); err != nil {
			return err
		}
	}
	if err := r.verify(); err != nil {
		return err
	}
	planned := r.rng.IntN(3) == 0
	if planned {
		r.disk.CutAt(1 + r.rng.Int64N(120))
	}
	r.load()
	r.result.Simulated += r.hand.Mono()
	r.end(&r.result.Ends, planned || r.rng.IntN(3) > 0)
	return nil
}

// boot starts the node; now and then a crash falls into the start itself.
func (r *run) boot() error {
	for range 3 {
		if r.rng.IntN(4) > 0 {
			break
		}
		r.disk.CutAt(1 + r.rng.Int64N(60))
		if err := r.Boot(); err == nil {
			r.disk.CutAt(0)
			return nil
		}
		r.PowerCut()
		r.result.PowerCuts++
	}
	r.disk.CutAt(0)
	return r.Boot()
}

// create makes the topics of the run.
func (r *run) create() error {
	req := &wire.CreateTopicsRequest{}
	req.SetDefaults()
	req.TimeoutMs = 10_000
	for t := range 1 + r.rng.IntN(3) {
		topic := wire.CreateTopicsRequestCreatableTopic{}
		topic.SetDefaults()
		topic.Name, topic.NumPartitions, topic.ReplicationFactor = fmt.Sprintf("t%d", t), int32(1+r.rng.IntN(4)), 1
		req.Topics = append(req.Topics, topic)
		for p := range topic.NumPartitions {
			r.parts = append(r.parts, &history{place: place{topic.Name, p}, seen: map[int64]uint64{}})
		}
	}
	resp := &wire.CreateTopicsResponse{}
	if err := r.Call(req, 7, resp); err != nil {
		return err
	}
	for i := range resp.Topics {
		if resp.Topics[i].ErrorCode != wire.None {
			return fmt.Errorf("creating %s: %w", resp.Topics[i].Name, resp.Topics[i].ErrorCode)
		}
	}
	init, got := &wire.InitProducerIdRequest{}, &wire.InitProducerIdResponse{}
	init.SetDefaults()
	init.TransactionalID = nil
	if err := r.Call(init, 5, got); err != nil {
		return err
	}
	r.producer = got.ProducerID
	if got.ErrorCode != wire.None {
		return got.ErrorCode
	}
	return nil
}

// load produces, many requests in flight, while the world goes on a random
// number of steps in between.
func (r *run) load() {
	for range 1 + r.rng.IntN(maxBatches) {
		for range 1 + r.rng.IntN(maxInFlight) {
			r.produce()
		}
		for range r.rng.IntN(20) {
			if !r.hand.RunOne() {
				break
			}
		}
		if r.rng.IntN(4) == 0 {
			r.hand.Advance(time.Duration(r.rng.Int64N(int64(3 * time.Second))))
		}
	}
}

// produce sends one request of one to three partitions.
func (r *run) produce() {
	req := &wire.ProduceRequest{}
	req.SetDefaults()
	req.Acks, req.TimeoutMs = int16(-1+2*r.rng.IntN(2)), 10_000
	var batches []*sent
	var places []*history
	from := r.rng.IntN(len(r.parts))
	for i := range 1 + r.rng.IntN(min(3, len(r.parts))) {
		h := r.parts[(from+i)%len(r.parts)]
		b, s := r.batch(h)
		s.maybe = true
		batches, places = append(batches, s), append(places, h)
		req.TopicData = append(req.TopicData, wire.ProduceRequestTopicProduceData{
			Name: h.place.topic, PartitionData: []wire.ProduceRequestPartitionProduceData{{Index: h.place.index, Records: b}},
		})
	}
	r.Send(req, produceLevel, func(response []byte, err error) {
		resp := &wire.ProduceResponse{}
		if err != nil || decode(response, wire.KeyProduce, produceLevel, resp) != nil {
			return
		}
		for i := range resp.Responses {
			p := &resp.Responses[i].PartitionResponses[0]
			if p.ErrorCode != wire.None {
				// Refused for good unless the disk failed half way.
				r.result.Refused += batches[i].count
				continue
			}
			batches[i].acked, batches[i].base = true, p.BaseOffset
			places[i].acked += batches[i].count
			r.result.Acked += batches[i].count
		}
	})
}

// batch makes a batch of a random kind: one small record, many, or one past the
// border where the journal is left out.
func (r *run) batch(h *history) ([]byte, *sent) {
	count, size := 1, 10
	switch r.rng.IntN(8) {
	case 0, 1:
		count, size = 1+r.rng.IntN(50), 20+r.rng.IntN(200)
	case 2:
		count, size = 20, 4000
	case 3:
		count, size = 1+r.rng.IntN(3), 70_000
	}
	opts := record.Options{Codec: compress.None, Level: compress.DefaultLevel}
	if h.place.index == 0 {
		opts.Idempotent, opts.ProducerID, opts.BaseSequence = true, r.producer, r.sequence[h.place]
		r.sequence[h.place] += int32(count)
	}
	if r.rng.IntN(6) == 0 {
		opts.Codec = compress.LZ4
	}
	return h.batch(count, size, opts, clock.Millis(r.hand.Now()))
}

// verify reads every partition from the start and checks it.
func (r *run) verify() error {
	for _, h := range r.parts {
		got, err := r.readAll(h.place)
		if err != nil {
			return fmt.Errorf("%s: %w", h.place, err)
		}
		if err := h.check(got); err != nil {
			return err
		}
		r.restart(h, got)
	}
	return nil
}

// restart lets the idempotent producer go on behind what the log holds: the
// batches nobody acknowledged are given up.
func (r *run) restart(h *history, got []readRecord) {
	present := make(map[uint64]bool, len(got))
	for _, g := range got {
		present[g.number] = true
	}
	n := 0
	for _, s := range h.sent {
		if present[s.first] {
			n += s.count
		}
		s.maybe = s.acked || present[s.first]
		if s.maybe && !s.acked {
			r.result.Unknown += s.count
		}
	}
	r.sequence[h.place] = int32(n)
}

// readAll fetches a partition from its first offset to its high watermark.
func (r *Rig) readAll(p place) ([]readRecord, error) {
	var out []readRecord
	for offset := int64(0); ; {
		req := &wire.FetchRequest{}
		req.SetDefaults()
		req.MaxBytes, req.SessionEpoch = 1<<20, -1
		part := wire.FetchRequestFetchPartition{}
		part.SetDefaults()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.index, offset, 1<<18
		req.Topics = []wire.FetchRequestFetchTopic{{Topic: p.topic, Partitions: []wire.FetchRequestFetchPartition{part}}}
		resp := &wire.FetchResponse{}
		if err := r.Call(req, fetchLevel, resp); err != nil {
			return out, err
		}
		if len(resp.Responses) != 1 || len(resp.Responses[0].Partitions) != 1 {
			return out, errors.New("a fetch of one partition did not answer for it")
		}
		got := &resp.Responses[0].Partitions[0]
		if got.ErrorCode != wire.None {
			return out, fmt.Errorf("fetching at %d: %w", offset, got.ErrorCode)
		}
		if offset >= got.HighWatermark {
			return out, nil
		}
		records, next, err := parse(got.Records, offset)
		if err != nil {
			return out, fmt.Errorf("fetched at %d: %w", offset, err)
		}
		if next == offset {
			return out, fmt.Errorf("nothing at %d, below the high watermark %d", offset, got.HighWatermark)
		}
		out, offset = append(out, records...), next
	}
}

// parse checks every whole batch of fetched bytes and takes out the records from an offset on.
func parse(b []byte, from int64) (out []readRecord, next int64, err error) {
	next = from
	var scratch []byte
	for len(b) > 0 {
		batch, rest, err := record.Next(b)
		if errors.Is(err, record.ErrShort) {
			return out, next, nil
		}
		if err != nil {
			return out, next, err
		}
		if err := batch.CheckCRC(); err != nil {
			return out, next, err
		}
		it, err := batch.Iterate(&scratch, 1<<24)
		if err != nil {
			return out, next, err
		}
		for {
			rec, ok := it.Next()
			if !ok {
				break
			}
			if rec.Offset >= from {
				out = append(out, readRecord{rec.Offset, binary.BigEndian.Uint64(rec.Value)})
			}
		}
		if err := it.Err(); err != nil {
			return out, next, err
		}
		next, b = batch.LastOffset()+1, rest
	}
	return out, next, nil
}

// finish boots a last time, checks everything, and stops cleanly.
func (r *run) finish() error {
	if err := r.Boot(); err != nil {
		return err
	}
	if err := r.verify(); err != nil {
		return err
	}
	return r.Stop()
}

// Add adds what another run did.
func (r *Result) Add(o Result) {
	r.add(o.Ends)
	r.Acked += o.Acked
	r.Refused += o.Refused
	r.Unknown += o.Unknown
	r.Simulated += o.Simulated
}
