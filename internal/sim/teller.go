package sim

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/invariant"
	"github.com/moldau/moldau/internal/sim/isolation"
)

// duty is what a teller does next.
type duty int

const (
	dutyInit duty = iota
	dutyCatchUp
	dutyCompare
	dutyBegin
	dutyAdd
	dutyWrite
	dutyLook
	dutyAddOffsets
	dutyCommitOffset
	dutyEnd
)

// posting is one write of a transfer: what an account holds from then on.
type posting struct {
	account int
	balance int64
}

// teller moves money between the accounts of its owner. It reads them when nothing of its owner's is open any more, so what it
// writes rests on what is there, unless another one has taken its transactional id meanwhile, which fences it.
type teller struct {
	passbook
	name  string
	owner int
	bump  bool // it speaks the protocol of transaction.version 2
	// apart tells that it has a connection of its own for records, and one for offsets.
	apart        bool
	data, groups port

	duty     duty
	asleep   int
	id       int64
	epoch    int16
	sequence map[int32]int32
	txn      *isolation.Txn
	// steps are the micro-operations to come: postings that go out in one request, or none to look at other accounts.
	steps   [][]posting
	added   map[int32]bool
	sent    int // writes of the transaction that are acknowledged
	commit  bool
	doubt   bool // it may have ended, though the client was not told
	offsets bool // the transaction commits an offset too: its own number
	// complaint is what was not as it should be when the transaction began. It counts if the transaction is committed: then no other
	// teller of the owner had a hand in between.
	complaint string
}

func (t *teller) complain() {
	if t.complaint != "" {
		t.r.wrong("%s", t.complaint)
	}
}

func (t *teller) transactionalID() string { return t.name[len("teller 0 of "):] }

// reborn is the teller after a crash of the node. A zombie does not know that time has passed, and goes on where it was.
func (t *teller) reborn(zombie bool) {
	t.doubt = t.doubt || t.busy && t.duty == dutyEnd
	t.data.reset()
	t.groups.reset()
	if t.reset(); zombie {
		return
	}
	t.giveUp()
	t.restart()
	t.duty = dutyInit
}

// giveUp leaves the transaction as it is.
func (t *teller) giveUp() {
	if t.txn != nil && t.commit && t.doubt {
		t.txn.Outcome = isolation.Unknown
	}
	t.txn, t.doubt = nil, false
}

// anew is a client that begins again: it does not know what its last request has come to.
func (t *teller) anew() {
	t.giveUp()
	t.duty = dutyInit
}

// step does the next thing, unless an answer is awaited.
func (t *teller) step() error {
	if t.asleep > 0 {
		t.asleep--
		return nil
	}
	if t.busy || t.data.busy || t.groups.busy {
		return nil
	}
	if t.duty > dutyBegin && t.r.rng.IntN(30) == 0 && !t.r.options.Slow {
		t.asleep = t.r.rng.IntN(40) // long enough for another to take over
		return nil
	}
	switch t.duty {
	case dutyInit:
		t.init()
	case dutyCatchUp:
		return t.catchUp()
	case dutyCompare:
		t.compare()
	case dutyBegin:
		t.begin()
	case dutyAdd:
		t.add()
	case dutyWrite:
		t.write()
	case dutyLook:
		return t.look()
	case dutyAddOffsets:
		t.addOffsets()
	case dutyCommitOffset:
		t.commitOffset()
	case dutyEnd:
		t.end()
	}
	return nil
}

// request sends a request; done is told the code in its answer. A client whose request got no answer in time repeats it.
func (t *teller) request(m wire.Message, version int16, resp wire.Message, code func() wire.Code, done func()) {
	t.portFor(m.APIKey()).ask(m, version, resp, func(err error) {
		switch {
		case errors.Is(err, errPatience):
			t.r.result.TimedOut++
			t.doubt = t.doubt || t.duty == dutyEnd
		case err != nil:
			t.doubt = t.doubt || t.duty == dutyEnd
			t.anew()
		default:
			t.heed(code(), done)
		}
	})
}

// portFor is the connection that a request goes by.
func (t *teller) portFor(key int16) *port {
	switch {
	case t.apart && key == wire.KeyProduce:
		return &t.data
	case t.apart && key == wire.KeyTxnOffsetCommit:
		return &t.groups
	}
	return &t.port
}

// heed goes on after an answer.
func (t *teller) heed(code wire.Code, done func()) {
	switch code {
	case wire.None:
		done()
	case wire.ConcurrentTransactions:
		// It tries again.
	case wire.CoordinatorLoadInProgress, wire.NotCoordinator, wire.NotEnoughReplicas:
		t.doubt = t.doubt || t.duty == dutyEnd // and what was asked for may be on its way
	case wire.ProducerFenced, wire.InvalidProducerEpoch, wire.InvalidProducerIDMapping, wire.InvalidTxnState:
		if code == wire.ProducerFenced || code == wire.InvalidProducerEpoch {
			t.r.result.Fenced++
		}
		t.asleep = t.r.rng.IntN(60)
		t.anew()
	default:
		t.doubt = t.doubt || t.duty == dutyEnd // it may have happened or not
		t.anew()
	}
}

func (t *teller) init() {
	id := t.transactionalID()
	req := &wire.InitProducerIdRequest{TransactionalID: &id, TransactionTimeoutMs: int32(bankTimeout.Milliseconds()), ProducerID: -1, ProducerEpoch: -1}
	resp := &wire.InitProducerIdResponse{}
	t.request(req, 5, resp, func() wire.Code { return resp.ErrorCode }, func() {
		t.id, t.epoch, t.sequence = resp.ProducerID, resp.ProducerEpoch, map[int32]int32{}
		t.catchUpFirst()
	})
}

// catchUpFirst has the teller look at what is there before it begins a transaction.
func (t *teller) catchUpFirst() {
	t.aim()
	t.txn, t.doubt, t.complaint, t.duty = nil, false, "", dutyCatchUp
}

// catchUp reads until everything is there that its owner's last transaction has left.
func (t *teller) catchUp() error {
	var failed error
	t.poll(func(err error) {
		switch {
		case errors.Is(err, errPatience), errors.Is(err, errNoAnswer):
		case err != nil:
			failed = err
		case t.fresh():
			t.duty = dutyCompare
		}
	})
	return failed
}

// compare looks whether the committed offset fits what is in the accounts.
func (t *teller) compare() {
	resp := &wire.OffsetFetchResponse{}
	code := func() wire.Code {
		if _, ok := positionIn(resp); !ok {
			return wire.ConcurrentTransactions
		}
		return wire.None
	}
	t.request(bankOffset(t.owner), 8, resp, code, func() {
		position, _ := positionIn(resp)
		if last := t.lastTxn(t.owner); int(position) > last || int(position) < last && t.r.offsets[last] {
			t.complaint = fmt.Sprintf("%s finds transaction %d in the accounts and the committed offset of %d", t.name, last, position)
		}
		t.duty = dutyBegin
	})
}

// begin begins a transaction with what the owner's accounts hold, and plans what to do in it.
func (t *teller) begin() {
	rng := t.r.rng
	t.txn, t.offsets = t.r.history.Begin(t.name), rng.IntN(2) == 0
	t.r.offsets[t.txn.ID] = t.offsets
	if sum := t.sum(t.owner); sum != bankEach*bankDeposit {
		t.complaint = fmt.Sprintf("%s finds %d in its bank", t.name, sum)
	}
	var balance [bankEach]int64
	for i := range bankEach {
		account := t.owner*bankEach + i
		balance[i] = t.accounts[account].balance
		t.txn.Reads = append(t.txn.Reads, t.read(account, true))
	}
	t.steps, t.added, t.sent = nil, map[int32]bool{}, 0
	for range 1 + rng.IntN(3) {
		from, to := rng.IntN(bankEach), rng.IntN(bankEach-1)
		if to >= from {
			to++
		}
		amount := 1 + rng.Int64N(20)
		balance[from] -= amount
		balance[to] += amount
		one, two := posting{t.owner*bankEach + from, balance[from]}, posting{t.owner*bankEach + to, balance[to]}
		if rng.IntN(2) == 0 {
			t.steps = append(t.steps, []posting{one}, []posting{two})
		} else {
			t.steps = append(t.steps, []posting{one, two})
		}
		if rng.IntN(2) == 0 {
			t.steps = append(t.steps, nil)
		}
	}
	t.commit, t.doubt = rng.IntN(5) > 0, false
	t.next()
}

// next turns to the next micro-operation, or to the end.
func (t *teller) next() {
	switch {
	case len(t.steps) == 0 && t.offsets && !t.bump:
		t.duty = dutyAddOffsets
	case len(t.steps) == 0 && t.offsets:
		t.duty = dutyCommitOffset
	case len(t.steps) == 0:
		t.duty = dutyEnd
	case t.steps[0] == nil:
		t.duty = dutyLook
	case !t.bump && len(t.missing()) > 0:
		t.duty = dutyAdd
	default:
		t.duty = dutyWrite
	}
}

// parts are the partitions of the next step, in order.
func (t *teller) parts() []int32 {
	var list []int32
	for p := range int32(bankParts) {
		for _, w := range t.steps[0] {
			if accountPart(w.account) == p {
				list = append(list, p)
				break
			}
		}
	}
	return list
}

// missing are those of them that do not take part in the transaction yet.
func (t *teller) missing() []int32 {
	var list []int32
	for _, p := range t.parts() {
		if !t.added[p] {
			list = append(list, p)
		}
	}
	return list
}

func (t *teller) add() {
	missing := t.missing()
	req := &wire.AddPartitionsToTxnRequest{
		V3AndBelowTransactionalID: t.transactionalID(), V3AndBelowProducerID: t.id, V3AndBelowProducerEpoch: t.epoch,
		V3AndBelowTopics: []wire.AddPartitionsToTxnRequestAddPartitionsToTxnTopic{{Name: bankTopic, Partitions: missing}},
	}
	resp := &wire.AddPartitionsToTxnResponse{}
	t.request(req, 3, resp, func() wire.Code { return resp.ResultsByTopicV3AndBelow[0].ResultsByPartition[0].PartitionErrorCode }, func() {
		for _, p := range missing {
			t.added[p] = true
		}
		t.next()
	})
}

// write sends the postings of one step.
func (t *teller) write() {
	version := int16(11)
	if t.bump {
		version = 12
	}
	id := t.transactionalID()
	req, resp := &wire.ProduceRequest{}, &wire.ProduceResponse{}
	req.SetDefaults()
	req.TransactionalID, req.Acks, req.TimeoutMs = &id, -1, 10_000
	topic := wire.ProduceRequestTopicProduceData{Name: bankTopic}
	t.note()
	for _, p := range t.parts() {
		topic.PartitionData = append(topic.PartitionData, wire.ProduceRequestPartitionProduceData{Index: p, Records: t.batch(p)})
	}
	req.TopicData = []wire.ProduceRequestTopicProduceData{topic}
	code := func() wire.Code {
		for i := range resp.Responses[0].PartitionResponses {
			if code := resp.Responses[0].PartitionResponses[i].ErrorCode; code != wire.None {
				return code // what did get there is recognised when it comes again
			}
		}
		return wire.None
	}
	t.request(req, version, resp, code, func() { t.written(resp) })
}

// batch is what the next step writes to a partition. What is sent for the first time is noted.
func (t *teller) batch(p int32) []byte {
	b := record.NewBuilder(nil, record.Options{
		Codec: compress.None, Level: compress.DefaultLevel, Idempotent: true, Transactional: true,
		ProducerID: t.id, ProducerEpoch: t.epoch, BaseSequence: t.sequence[p],
	})
	for i, w := range t.steps[0] {
		if accountPart(w.account) != p {
			continue
		}
		v := t.txn.Writes[t.sent+i].Version
		value := binary.BigEndian.AppendUint32(nil, uint32(v.Txn))
		value = binary.BigEndian.AppendUint32(value, uint32(v.Step))
		value = binary.BigEndian.AppendUint64(value, uint64(w.balance))
		b.Append(clock.Millis(t.r.hand.Now()), []byte(accountKey(w.account)), value)
	}
	batch, err := b.Finish()
	invariant.Check(err == nil, "a batch of a few accounts: %v", err)
	return batch
}

// note has the history know of the next step's postings before they are sent.
func (t *teller) note() {
	for _, w := range t.steps[0][len(t.txn.Writes)-t.sent:] {
		t.txn.Writes = append(t.txn.Writes, isolation.Write{
			Key: accountKey(w.account), Version: isolation.Version{Txn: t.txn.ID, Step: len(t.txn.Writes) + 1},
			Place: isolation.Place{Partition: accountPart(w.account), Offset: -1},
		})
	}
}

// written takes the acknowledgement of a step's postings.
func (t *teller) written(resp *wire.ProduceResponse) {
	base := map[int32]int64{}
	for i := range resp.Responses[0].PartitionResponses {
		base[resp.Responses[0].PartitionResponses[i].Index] = resp.Responses[0].PartitionResponses[i].BaseOffset
	}
	at := t.r.tick()
	for i := range t.txn.Writes[t.sent:] {
		w := &t.txn.Writes[t.sent+i]
		p := w.Place.Partition
		w.Place.Offset, w.AckedAt = base[p], at
		base[p]++
		t.sequence[p]++
	}
	t.sent = len(t.txn.Writes)
	t.steps = t.steps[1:]
	t.next()
}

// look reads on, and then reads accounts of others.
func (t *teller) look() error {
	var failed error
	t.poll(func(err error) {
		switch {
		case errors.Is(err, errPatience):
		case errors.Is(err, errNoAnswer):
			t.anew()
		case err != nil:
			failed = err
		default:
			for range 1 + t.r.rng.IntN(3) {
				t.txn.Reads = append(t.txn.Reads, t.read(t.r.rng.IntN(bankAccounts), false))
			}
			t.steps = t.steps[1:]
			t.next()
		}
	})
	return failed
}

func (t *teller) addOffsets() {
	req := &wire.AddOffsetsToTxnRequest{TransactionalID: t.transactionalID(), ProducerID: t.id, ProducerEpoch: t.epoch, GroupID: bankGroup(t.owner)}
	resp := &wire.AddOffsetsToTxnResponse{}
	t.request(req, 3, resp, func() wire.Code { return resp.ErrorCode }, func() { t.duty = dutyCommitOffset })
}

func (t *teller) commitOffset() {
	req := &wire.TxnOffsetCommitRequest{
		TransactionalID: t.transactionalID(), ProducerID: t.id, ProducerEpoch: t.epoch, GroupID: bankGroup(t.owner), GenerationIDOrMemberEpoch: -1,
		Topics: []wire.TxnOffsetCommitRequestTopic{{Name: bankTopic, Partitions: []wire.TxnOffsetCommitRequestPartition{{
			CommittedOffset: int64(t.txn.ID), CommittedLeaderEpoch: -1,
		}}}},
	}
	version := int16(3)
	if t.bump {
		version = 5
	}
	resp := &wire.TxnOffsetCommitResponse{}
	t.request(req, version, resp, func() wire.Code { return resp.Topics[0].Partitions[0].ErrorCode }, func() { t.duty = dutyEnd })
}

func (t *teller) end() {
	req := &wire.EndTxnRequest{TransactionalID: t.transactionalID(), ProducerID: t.id, ProducerEpoch: t.epoch, Committed: t.commit}
	version := int16(4)
	if t.bump {
		version = 5
	}
	resp := &wire.EndTxnResponse{}
	t.request(req, version, resp, func() wire.Code { return resp.ErrorCode }, func() {
		if t.commit {
			t.txn.Outcome = isolation.Committed
			t.complain()
		}
		if t.bump {
			if t.id != resp.ProducerID || t.epoch != resp.ProducerEpoch {
				t.sequence = map[int32]int32{}
			}
			t.id, t.epoch = resp.ProducerID, resp.ProducerEpoch
		}
		t.catchUpFirst()
	})
}
