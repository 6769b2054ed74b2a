package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
)

// TxnResult is what one run of transactions did.
type TxnResult struct {
	Ends
	// Committed and Aborted count transactions whose end was acknowledged, Lost those of which the client could not know.
	Committed, Aborted, Lost int
	// Fenced counts the times that a client found out that another one has its transactional id.
	Fenced int
	// Outputs counts the records that readers of committed data see in the end.
	Outputs int
}

// Add adds what another run did.
func (r *TxnResult) Add(o TxnResult) {
	r.add(o.Ends)
	r.Committed, r.Aborted, r.Lost = r.Committed+o.Committed, r.Aborted+o.Aborted, r.Lost+o.Lost
	r.Fenced, r.Outputs = r.Fenced+o.Fenced, r.Outputs+o.Outputs
}

// Shape of a run of transactions.
const (
	txnInputs     = 2 // each has a transactional id of its own
	txnCopiers    = 2 // for each input: all but one are zombies
	txnOutputs    = 3 // partitions
	txnSteps      = 400
	txnGroup      = "copiers"
	txnTopic      = "out"
	txnInputTopic = "in"
)

// txnRun is one seed's life: copiers take numbers from inputs, write each to an output together with the position
// reached, and commit, abort, stall or die at any point. In the end every number below the committed position must be
// in the outputs exactly once, and none above.
type txnRun struct {
	*Rig
	rng     *rand.Rand
	copiers []*copier
	result  TxnResult
	// disorder counts the batches that another of their producer has overtaken.
	disorder int
}

// RunTransactions plays one seed.
func RunTransactions(rig *Rig) (TxnResult, error) {
	r := &txnRun{Rig: rig, rng: rand.New(rand.NewPCG(rig.seed, 99))}
	for input := range int32(txnInputs) {
		for range txnCopiers {
			r.copiers = append(r.copiers, &copier{r: r, input: input, bump: r.rng.IntN(2) == 0})
		}
	}
	err := rig.play(r.live, r.finish)
	return r.result, err
}

func (r *txnRun) live(life int) error {
	r.disk.CutAt(0)
	if err := r.Boot(); err != nil {
		return err
	}
	if life == 0 {
		if err := r.create(); err != nil {
			return err
		}
	}
	for _, c := range r.copiers {
		c.reborn(r.rng.IntN(3) == 0)
	}
	planned := r.rng.IntN(3) == 0
	if planned {
		r.disk.CutAt(1 + r.rng.Int64N(600))
	}
	for range txnSteps {
		if c := r.copiers[r.rng.IntN(len(r.copiers))]; r.rng.IntN(4) == 0 {
			c.step()
		}
		if !r.hand.RunOne() && r.rng.IntN(3) == 0 {
			r.hand.Advance(time.Duration(r.rng.Int64N(int64(30 * time.Millisecond))))
		}
		if r.rng.IntN(200) == 0 {
			r.hand.Advance(time.Duration(r.rng.Int64N(int64(20 * time.Second)))) // transactions time out
		}
	}
	r.end(&r.result.Ends, planned || r.rng.IntN(2) == 0)
	return nil
}

func (r *txnRun) create() error {
	req := &wire.CreateTopicsRequest{}
	req.SetDefaults()
	req.TimeoutMs = 10_000
	for _, t := range []struct {
		name       string
		partitions int32
	}{{txnTopic, txnOutputs}, {txnInputTopic, txnInputs}} {
		topic := wire.CreateTopicsRequestCreatableTopic{}
		topic.SetDefaults()
		topic.Name, topic.NumPartitions, topic.ReplicationFactor = t.name, t.partitions, 1
		req.Topics = append(req.Topics, topic)
	}
	resp := &wire.CreateTopicsResponse{}
	if err := r.Call(req, 7, resp); err != nil {
		return err
	}
	for _, kind := range []int8{0, 1} { // the first question makes the topics of the coordinators
		find := &wire.FindCoordinatorRequest{KeyType: kind, CoordinatorKeys: []string{"any"}}
		if err := r.Call(find, 4, &wire.FindCoordinatorResponse{}); err != nil {
			return err
		}
	}
	return nil
}

// finish boots a last time, lets open transactions time out, and checks.
func (r *txnRun) finish() error {
	r.disk.CutAt(0)
	if err := r.Boot(); err != nil {
		return err
	}
	for range 40 {
		r.hand.Advance(time.Second)
	}
	if r.disorder > 0 {
		return fmt.Errorf("%d batches were overtaken by others of their producer", r.disorder)
	}
	var seen [txnInputs][]int64
	for p := range int32(txnOutputs) {
		if err := r.readCommitted(p, &seen); err != nil {
			return fmt.Errorf("%s-%d: %w", txnTopic, p, err)
		}
	}
	for input := range int32(txnInputs) {
		position, err := r.position(input)
		if err != nil {
			return err
		}
		got := seen[input]
		r.result.Outputs += len(got)
		slices.Sort(got)
		for i, n := range got {
			if n != int64(i) {
				return fmt.Errorf("input %d: number %d is missing or there twice; there are %v", input, i, got)
			}
		}
		if int64(len(got)) != position {
			return fmt.Errorf("input %d: %d numbers are there, the committed position is %d", input, len(got), position)
		}
		for _, c := range r.copiers {
			if c.input == input && c.told > position {
				return fmt.Errorf("input %d: a commit up to %d was acknowledged, the committed position is %d", input, c.told, position)
			}
		}
	}
	return r.Stop()
}

// position is the committed position of an input.
func (r *txnRun) position(input int32) (int64, error) {
	for range 100 {
		req, resp := positionRequest(input), &wire.OffsetFetchResponse{}
		if err := r.Call(req, 8, resp); err != nil {
			return 0, err
		}
		if position, ok := positionIn(resp); ok {
			return position, nil
		}
		r.hand.Advance(100 * time.Millisecond)
	}
	return 0, errors.New("the committed position stays unstable: a transaction hangs")
}

func positionRequest(input int32) *wire.OffsetFetchRequest {
	return &wire.OffsetFetchRequest{RequireStable: true, Groups: []wire.OffsetFetchRequestGroup{{
		GroupID: txnGroup, MemberEpoch: -1, Topics: []wire.OffsetFetchRequestTopics{{Name: txnInputTopic, PartitionIndexes: []int32{input}}},
	}}}
}

func positionIn(resp *wire.OffsetFetchResponse) (int64, bool) {
	if len(resp.Groups) != 1 || resp.Groups[0].ErrorCode != wire.None || len(resp.Groups[0].Topics) != 1 {
		return 0, false
	}
	p := &resp.Groups[0].Topics[0].Partitions[0]
	return max(p.CommittedOffset, 0), p.ErrorCode == wire.None
}

// readCommitted reads an output as a consumer with read_committed does, and demands that no transaction is open.
func (r *txnRun) readCommitted(index int32, seen *[txnInputs][]int64) error {
	var failed error
	last := [txnInputs]int64{-1, -1}
	for offset := int64(0); ; {
		part, err := r.fetchCommitted(index, offset)
		if err != nil {
			return err
		}
		if part.LastStableOffset != part.HighWatermark {
			return fmt.Errorf("a transaction hangs: the last stable offset is %d, the high watermark %d", part.LastStableOffset, part.HighWatermark)
		}
		if offset >= part.HighWatermark {
			return nil
		}
		next, err := walkVisible(part, offset, true, func(rec *record.Record) {
			input, n := int32(binary.BigEndian.Uint32(rec.Key)), int64(binary.BigEndian.Uint64(rec.Value))
			if n <= last[input] && failed == nil {
				failed = fmt.Errorf("number %d of input %d comes behind %d", n, input, last[input])
			}
			last[input] = n
			seen[input] = append(seen[input], n)
		})
		if err = errors.Join(err, failed); err != nil {
			return err
		}
		if next == offset {
			return fmt.Errorf("nothing at %d, below the high watermark %d", offset, part.HighWatermark)
		}
		offset = next
	}
}

func (r *txnRun) fetchCommitted(index int32, offset int64) (*wire.FetchResponsePartitionData, error) {
	return r.fetch(txnTopic, index, offset)
}

// fetch reads a partition of a topic as a consumer with read_committed does.
func (r *Rig) fetch(topic string, index int32, offset int64) (*wire.FetchResponsePartitionData, error) {
	req := &wire.FetchRequest{}
	req.SetDefaults()
	req.MaxBytes, req.SessionEpoch, req.IsolationLevel = 1<<20, -1, 1
	part := wire.FetchRequestFetchPartition{}
	part.SetDefaults()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = index, offset, 1<<18
	req.Topics = []wire.FetchRequestFetchTopic{{Topic: topic, Partitions: []wire.FetchRequestFetchPartition{part}}}
	resp := &wire.FetchResponse{}
	if err := r.Call(req, fetchLevel, resp); err != nil {
		return nil, err
	}
	got := &resp.Responses[0].Partitions[0]
	if got.ErrorCode != wire.None {
		return nil, fmt.Errorf("fetching at %d: %w", offset, got.ErrorCode)
	}
	return got, nil
}

// stage is what a copier does next.
type stage int

const (
	toInit stage = iota
	toLook
	toAdd
	toProduce
	toAddOffsets
	toCommitOffset
	toEnd
)

// copier copies one input's numbers to the outputs, exactly once, whatever happens to it and to the node.
type copier struct {
	r     *txnRun
	input int32
	bump  bool // it speaks the protocol of transaction.version 2

	life     int // answers of an earlier one are not heard
	busy     bool
	asleep   int
	stage    stage
	id       int64
	epoch    int16
	sequence map[int32]int32
	position int64             // the first number of the transaction
	numbers  map[int32][]int64 // of the transaction, by output
	count    int64
	commit   bool
	told     int64 // up to where a commit was acknowledged
}

func (c *copier) transactionalID() string { return fmt.Sprint("copier-", c.input) }

// reborn is the copier after a crash of the node. One that does not know that time has passed goes on where it was.
func (c *copier) reborn(zombie bool) {
	c.life++
	c.busy = false
	if !zombie {
		c.stage = toInit
	}
}

// step does the next thing, unless an answer is awaited.
func (c *copier) step() {
	if c.asleep > 0 {
		c.asleep--
		return
	}
	if c.busy {
		return
	}
	if c.stage > toLook && c.r.rng.IntN(25) == 0 {
		c.asleep = c.r.rng.IntN(30) // long enough for another to take over
		return
	}
	switch c.stage {
	case toInit:
		c.init()
	case toLook:
		c.look()
	case toAdd:
		c.add()
	case toProduce:
		c.produce()
	case toAddOffsets:
		c.addOffsets()
	case toCommitOffset:
		c.commitOffset()
	case toEnd:
		c.end()
	}
}

// ask sends a request; done is told the code in its answer.
func (c *copier) ask(m wire.Message, version int16, resp wire.Message, done func() wire.Code) {
	c.busy = true
	life, key := c.life, m.APIKey()
	c.r.Send(m, version, func(b []byte, err error) {
		if c.life != life {
			return
		}
		c.busy = false
		if err != nil || decode(b, key, version, resp) != nil {
			c.stage = toInit
			return
		}
		c.heed(done())
	})
}

// heed goes on after an answer.
func (c *copier) heed(code wire.Code) {
	switch code {
	case wire.None:
	case wire.ConcurrentTransactions, wire.CoordinatorLoadInProgress, wire.NotCoordinator, wire.CoordinatorNotAvailable, wire.NotEnoughReplicas:
		// It tries again.
	case wire.ProducerFenced, wire.InvalidProducerEpoch, wire.InvalidProducerIDMapping:
		c.r.result.Fenced++
		c.asleep = c.r.rng.IntN(20)
		c.stage = toInit
	default:
		c.stage = toInit
	}
}

func (c *copier) init() {
	id := c.transactionalID()
	req := &wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: 10_000, ProducerID: -1, ProducerEpoch: -1}
	resp := &wire.InitProducerIdResponse{}
	c.ask(req, 5, resp, func() wire.Code {
		if resp.ErrorCode == wire.None {
			c.id, c.epoch, c.sequence, c.stage = resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}, toLook
		}
		return resp.ErrorCode
	})
}

// look finds out where to go on, and begins a transaction.
func (c *copier) look() {
	resp := &wire.OffsetFetchResponse{}
	c.ask(positionRequest(c.input), 8, resp, func() wire.Code {
		position, ok := positionIn(resp)
		if !ok {
			return wire.ConcurrentTransactions
		}
		c.begin(position)
		return wire.None
	})
}

func (c *copier) begin(position int64) {
	c.position, c.count = position, 1+c.r.rng.Int64N(4)
	c.numbers = map[int32][]int64{}
	for n := position; n < position+c.count; n++ {
		p := c.r.rng.Int32N(txnOutputs)
		c.numbers[p] = append(c.numbers[p], n)
	}
	c.commit = c.r.rng.IntN(4) > 0
	if c.stage = toAdd; c.bump {
		c.stage = toProduce
	}
}

// outputs are the partitions of the transaction, in order.
func (c *copier) outputs() []int32 {
	var list []int32
	for p := range int32(txnOutputs) {
		if len(c.numbers[p]) > 0 {
			list = append(list, p)
		}
	}
	return list
}

func (c *copier) add() {
	req := &wire.AddPartitionsToTxnRequest{
		V3AndBelowTransactionalID: c.transactionalID(), V3AndBelowProducerID: c.id, V3AndBelowProducerEpoch: c.epoch,
		V3AndBelowTopics: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: txnTopic, Partitions: c.outputs()}},
	}
	resp := &wire.AddPartitionsToTxnResponse{}
	c.ask(req, 3, resp, func() wire.Code {
		code := resp.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode
		if code == wire.None {
			c.stage = toProduce
		}
		return code
	})
}

// produce writes all numbers of the transaction, in one request or in two of which the second does not wait for the first.
func (c *copier) produce() {
	version := int16(11)
	if c.bump {
		version = 12
	}
	reqs := c.produceRequests(c.r.rng.IntN(2) == 0)
	left, worst := len(reqs), wire.None
	for _, req := range reqs {
		resp := &wire.ProduceResponse{}
		c.ask(req, version, resp, func() wire.Code {
			left--
			for i := range resp.Responses[0].PartitionResponses {
				code := resp.Responses[0].PartitionResponses[i].ErrorCode
				if code != wire.None && worst == wire.None {
					worst = code
				}
				if code == wire.OutOfOrderSequenceNumber && worst == code {
					c.r.disorder++ // nothing before it had failed
				}
			}
			if left > 0 {
				c.busy = true
				return wire.None
			}
			if worst != wire.None {
				return worst // what did get there is recognised when it comes again
			}
			for p, list := range c.numbers {
				c.sequence[p] += int32(len(list))
			}
			if c.stage = toAddOffsets; c.bump {
				c.stage = toCommitOffset
			}
			return wire.None
		})
	}
}

// produceRequests are one request, or two where the numbers are enough.
func (c *copier) produceRequests(two bool) []*wire.ProduceRequest {
	var first, second []wire.ProduceRequestPartitionProduceData
	for _, p := range c.outputs() {
		list, sequence := c.numbers[p], c.sequence[p]
		n := len(list)
		if two && n > 1 {
			n /= 2
			second = append(second, wire.ProduceRequestPartitionProduceData{Index: p, Records: c.batch(list[n:], sequence+int32(n))})
		}
		first = append(first, wire.ProduceRequestPartitionProduceData{Index: p, Records: c.batch(list[:n], sequence)})
	}
	var reqs []*wire.ProduceRequest
	for _, data := range [][]wire.ProduceRequestPartitionProduceData{first, second} {
		if len(data) == 0 {
			continue
		}
		id := c.transactionalID()
		req := &wire.ProduceRequest{}
		req.SetDefaults()
		req.TransactionalID, req.Acks, req.TimeoutMs = &id, -1, 10_000
		req.TopicData = []wire.ProduceRequestTopicProduceData{{Name: txnTopic, PartitionData: data}}
		reqs = append(reqs, req)
	}
	return reqs
}

func (c *copier) batch(numbers []int64, sequence int32) []byte {
	b := record.NewBuilder(nil, record.Options{
		Codec: compress.None, Level: compress.DefaultLevel, Idempotent: true, Transactional: true,
		ProducerID: c.id, ProducerEpoch: c.epoch, BaseSequence: sequence,
	})
	for _, n := range numbers {
		b.Append(clock.Millis(c.r.hand.Now()), binary.BigEndian.AppendUint32(nil, uint32(c.input)), binary.BigEndian.AppendUint64(nil, uint64(n)))
	}
	batch, err := b.Finish()
	invariant.Check(err == nil, "a batch of a few numbers: %v", err)
	return batch
}

func (c *copier) addOffsets() {
	req := &wire.AddOffsetsToTxnRequest{TransactionalID: c.transactionalID(), ProducerID: c.id, ProducerEpoch: c.epoch, GroupID: txnGroup}
	resp := &wire.AddOffsetsToTxnResponse{}
	c.ask(req, 3, resp, func() wire.Code {
		if resp.ErrorCode == wire.None {
			c.stage = toCommitOffset
		}
		return resp.ErrorCode
	})
}

func (c *copier) commitOffset() {
	req := &wire.TxnOffsetCommitRequest{
		TransactionalID: c.transactionalID(), ProducerID: c.id, ProducerEpoch: c.epoch, GroupID: txnGroup, GenerationIDOrMemberEpoch: -1,
		Topics: []wire.TxnOffsetCommitRequestTopic{{Name: txnInputTopic, Partitions: []wire.TxnOffsetCommitRequestPartition{{
			PartitionIndex: c.input, CommittedOffset: c.position + c.count, CommittedLeaderEpoch: -1,
		}}}},
	}
	version := int16(3)
	if c.bump {
		version = 5
	}
	resp := &wire.TxnOffsetCommitResponse{}
	c.ask(req, version, resp, func() wire.Code {
		code := resp.Topics[0].Partitions[0].ErrorCode
		if code == wire.None {
			c.stage = toEnd
		}
		return code
	})
}

func (c *copier) end() {
	req := &wire.EndTxnRequest{TransactionalID: c.transactionalID(), ProducerID: c.id, ProducerEpoch: c.epoch, Committed: c.commit}
	version := int16(4)
	if c.bump {
		version = 5
	}
	resp := &wire.EndTxnResponse{}
	c.ask(req, version, resp, func() wire.Code {
		switch resp.ErrorCode {
		case wire.None:
		case wire.ConcurrentTransactions, wire.ProducerFenced, wire.InvalidProducerIDMapping, wire.InvalidTxnState:
			return resp.ErrorCode
		default:
			c.r.result.Lost++ // it may have ended or not
			return resp.ErrorCode
		}
		if c.commit {
			c.told = max(c.told, c.position+c.count)
			c.r.result.Committed++
		} else {
			c.r.result.Aborted++
		}
		if c.bump {
			if c.id != resp.ProducerID || c.epoch != resp.ProducerEpoch {
				c.sequence = map[int32]int32{}
			}
			c.id, c.epoch = resp.ProducerID, resp.ProducerEpoch
		}
		c.stage = toLook
		return wire.None
	})
}
