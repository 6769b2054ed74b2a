package broker

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/compress"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// produce is one Produce request from its arrival to its answer. It is pooled:
// in the steady state a request allocates nothing here.
type produce struct {
	b    *Broker
	q    *edge.Request
	req  wire.ProduceRequest
	resp wire.ProduceResponse

	appends []produceAppend
	// transactional are those of a producer with a transactional id, unverified those of them about which the transaction
	// coordinator has to be asked.
	transactional, unverified []*produceAppend
	pending                   atomic.Int32
	bytes                     int   // of the request's body
	now                       int64 // when it came, in milliseconds
	// done is op.appended, bound once.
	done func(*commitlog.Append)
}

// produceAppend is one partition of the request.
type produceAppend struct {
	commitlog.Append
	part *partition.Partition
	// code and message are the refusal, if it never got to the log.
	code    wire.Code
	message string
	bad     []record.BadRecord
	early   bool // the log was not asked
	size    int  // bytes that came
}

// producePool keeps finished requests' memory.
type producePool struct{ pool sync.Pool }

func (b *Broker) takeProduce(q *edge.Request) *produce {
	op, _ := b.produces.pool.Get().(*produce)
	if op == nil {
		op = &produce{b: b}
		op.done = op.appended
	}
	op.q = q
	return op
}

// maxPooledPartitions bounds what a pooled request keeps.
const maxPooledPartitions = 4096

func (op *produce) release() {
	b := op.b
	clear(op.appends)
	clear(op.transactional)
	clear(op.unverified)
	op.transactional, op.unverified = op.transactional[:0], op.unverified[:0]
	op.q = nil
	op.req.TransactionalID = nil
	if cap(op.appends) <= maxPooledPartitions {
		b.produces.pool.Put(op)
	}
}

// serveProduce appends each partition's batch. The answer goes out when the
// last of them is stable or refused.
func (b *Broker) serveProduce(q *edge.Request) {
	op := b.takeProduce(q)
	r := wire.NewReader(q.Body)
	r.AliasStrings = true
	op.bytes = len(q.Body)
	op.req.Decode(r, q.Version)
	if err := r.Err(); err != nil {
		op.release()
		q.Hangup(malformed(q, err))
		return
	}
	n := 0
	for i := range op.req.TopicData {
		n += len(op.req.TopicData[i].PartitionData)
	}
	if cap(op.appends) < n {
		op.appends = make([]produceAppend, n)
	}
	op.appends = op.appends[:n]
	op.pending.Store(int32(n) + 1)
	op.start()
	op.finishOne()
}

func (op *produce) start() {
	if !op.mayTransact() {
		op.refuse(wire.TransactionalIDAuthorizationFailed)
		return
	}
	badAcks := op.req.Acks < -1 || op.req.Acks > 1
	op.now = clock.Millis(op.b.world.Now())
	at := 0
	for i := range op.req.TopicData {
		data := &op.req.TopicData[i]
		topic, unknown := op.topic(data)
		denied := op.denied(topic, data)
		for j := range data.PartitionData {
			a := &op.appends[at]
			at++
			a.part = topic.Partition(data.PartitionData[j].Index)
			switch {
			case denied:
				a.part, a.code = nil, wire.TopicAuthorizationFailed
			case a.part == nil:
				a.code = unknown
			case badAcks:
				a.refuseWith(wire.InvalidRequiredAcks, data.PartitionData[j].Records, op.q.Version)
			case internalTopic(topic.Name):
				a.refuseWith(wire.InvalidTopic, data.PartitionData[j].Records, op.q.Version)
			default:
				op.append(a, data.PartitionData[j].Records)
				continue
			}
			op.pending.Add(-1)
		}
	}
	if len(op.transactional) > 0 {
		op.beginTransactional()
	}
}

// mayTransact asks for the right to the transactional id of a request with transactional records, which must have one. What counts is what the
// batches say, not what the request says (CVE-2018-17196).
func (op *produce) mayTransact() bool {
	if !op.hasTransactional() {
		return true
	}
	id := op.req.TransactionalID
	return id != nil && op.b.allowed(op.q, acl.Write, acl.TransactionalID, *id)
}

// hasTransactional tells whether some batch is part of a transaction.
func (op *produce) hasTransactional() bool {
	for i := range op.req.TopicData {
		for j := range op.req.TopicData[i].PartitionData {
			if b := record.Batch(op.req.TopicData[i].PartitionData[j].Records); len(b) >= record.HeaderSize && b.Magic() == 2 && b.IsTransactional() {
				return true
			}
		}
	}
	return false
}

// denied tells that the peer may not write to the topic. An id that no topic has is refused as such.
func (op *produce) denied(topic *partition.Topic, data *wire.ProduceRequestTopicProduceData) bool {
	if op.b.authorizer == nil {
		return false
	}
	name := data.Name
	if op.q.Version >= 13 {
		if topic == nil {
			return false
		}
		name = topic.Name
	}
	return !op.b.allowed(op.q, acl.Write, acl.Topic, name)
}

// refuse answers all partitions with one error.
func (op *produce) refuse(code wire.Code) {
	for i := range op.appends {
		op.appends[i].part, op.appends[i].code = nil, code
		op.pending.Add(-1)
	}
}

// topic finds the topic that data is for; code is what a missing one, or a
// missing partition of it, is answered with.
func (op *produce) topic(data *wire.ProduceRequestTopicProduceData) (topic *partition.Topic, code wire.Code) {
	if op.q.Version >= 13 {
		if topic = op.b.table.ByID(data.TopicID); topic == nil {
			return nil, wire.UnknownTopicID
		}
	} else {
		topic = op.b.table.ByName(data.Name)
	}
	return topic, wire.UnknownTopicOrPartition
}

// append validates one partition's records and gives them to its log.
func (op *produce) append(a *produceAppend, records []byte) {
	a.size = len(records)
	limits := limitsOf(a.part.Config())
	limits.Now = op.now
	limits.RefuseZstd = op.q.Version < zstdSince
	batch, err := checkBatch(op.b, records, &limits)
	if err != nil {
		a.refuse(err)
		op.pending.Add(-1)
		return
	}
	a.Records = batch
	a.LeaderEpoch = a.part.LeaderEpoch()
	a.Done = op.done
	if batch.IsTransactional() {
		op.transactional = append(op.transactional, a)
		return
	}
	a.part.Log().Append(&a.Append)
}

// leastUnpacking is how many batches are unpacked at a time at least, each up to record.DefaultMaxInflated; with many
// processors two for each. Work without waiting: whoever has to wait for a place gets it soon.
const leastUnpacking = 4

// checkBatch looks at a batch and makes it what the topic wants.
func checkBatch(b *Broker, records []byte, limits *record.Limits) (record.Batch, error) {
	if packed(records) || limits.Target.Fixed {
		b.unpacking <- struct{}{}
		defer func() { <-b.unpacking }()
	}
	info, err := record.Validate(records, limits)
	if err != nil {
		return nil, err
	}
	return record.Prepare(nil, &info, limits)
}

// packed tells whether the records of a batch are compressed, or are of a form in which that is not easily seen.
func packed(records []byte) bool {
	const attributes, magicAt = 21, 16
	return len(records) <= attributes+1 || records[magicAt] != 2 || records[attributes+1]&7 != 0
}

// limitsOf is what a topic's configuration demands of a batch.
//
// Differs from Kafka: max.decompressed.message.bytes bounds the unpacked batch and not each record of it, and no batch may
// unpack to more than 64 MiB: Kafka's default of 2 GiB lets a batch of a megabyte take all memory.
func limitsOf(cfg *config.TopicConfig) record.Limits {
	l := record.Limits{
		MaxBatchBytes: cfg.MaxMessageBytes,
		MaxInflated:   min(cfg.MaxDecompressedMessageBytes, record.DefaultMaxInflated),
		Compacted:     cfg.Compact,
		TimestampType: record.TimestampType(cfg.TimestampType),
		BeforeMax:     cfg.TimestampBeforeMaxMs,
		AfterMax:      cfg.TimestampAfterMaxMs,
	}
	if cfg.CompressionType != config.CompressionProducer {
		l.Target = record.Target{Fixed: true, Codec: compress.Codec(cfg.CompressionType), Level: codecLevel(cfg)}
	}
	return l
}

// codecLevel is the level of the codec that the topic demands.
func codecLevel(cfg *config.TopicConfig) int {
	switch cfg.CompressionType {
	case config.CompressionGzip:
		return cfg.GzipLevel
	case config.CompressionLz4:
		return cfg.Lz4Level
	case config.CompressionZstd:
		return cfg.ZstdLevel
	default:
		return compress.DefaultLevel
	}
}

// zstdSince is the version from which on batches may be packed by zstd (KIP-110).
const zstdSince = 7

// refuseWith answers with a code, unless the records are wrong by themselves.
func (a *produceAppend) refuseWith(code wire.Code, records []byte, version int16) {
	if err := record.CheckFrame(records, version < zstdSince); err != nil {
		a.refuse(err)
		return
	}
	a.code = code
}

// refuse maps a validation error to Kafka's answer.
func (a *produceAppend) refuse(err error) {
	var bad *record.Error
	if !errors.As(err, &bad) {
		a.code, a.message = wire.UnknownServerError, err.Error()
		return
	}
	a.code, a.message, a.bad, a.early = refusalCodes[bad.Kind], bad.Msg, bad.Records, bad.Early
}

func (op *produce) appended(*commitlog.Append) { op.finishOne() }

// finishOne is called once for each partition and once for the request; the
// last call answers.
func (op *produce) finishOne() {
	if op.pending.Add(-1) == 0 {
		op.finish()
	}
}

// finish writes the answer.
func (op *produce) finish() {
	op.count()
	if op.req.Acks == 0 {
		op.finishUnacknowledged()
		return
	}
	op.resp.Responses = grow(op.resp.Responses, len(op.req.TopicData))
	at := 0
	for i := range op.req.TopicData {
		data, out := &op.req.TopicData[i], &op.resp.Responses[i]
		out.Name, out.TopicID = data.Name, data.TopicID
		out.PartitionResponses = grow(out.PartitionResponses, len(data.PartitionData))
		for j := range data.PartitionData {
			op.appends[at].answer(&out.PartitionResponses[j], data.PartitionData[j].Index)
			at++
		}
	}
	q := op.q
	op.resp.ThrottleTimeMs = op.b.tolls.Load().produce(q, op.bytes, op.req.Acks)
	resp := q.Begin()
	resp.Buf = op.resp.Append(resp.Buf, q.Version)
	op.release()
	q.Reply()
}

// finishUnacknowledged ends a request with acks=0: the only way to tell of an
// error is to close the connection, as Kafka does.
func (op *produce) finishUnacknowledged() {
	var failed error
	for i := range op.appends {
		a := &op.appends[i]
		if code, message := a.outcome(); code != wire.None && failed == nil {
			failed = &unacknowledgedError{code: code, message: message}
		}
	}
	q := op.q
	op.b.tolls.Load().produce(q, op.bytes, 0)
	op.release()
	if failed != nil {
		q.Hangup(failed)
		return
	}
	q.ReplyNothing()
}

type unacknowledgedError struct {
	code    wire.Code
	message string
}

func (e *unacknowledgedError) Error() string {
	return "a produce with acks=0 failed and the connection is the only place to say so: " + e.code.String() + " " + e.message
}

// outcome is the partition's error, if any.
func (a *produceAppend) outcome() (wire.Code, string) {
	if a.code != wire.None || a.Err == nil {
		return a.code, a.message
	}
	return appendCode(a.Err)
}

// answer fills the partition's part of the response.
func (a *produceAppend) answer(out *wire.ProduceResponsePartitionProduceResponse, index int32) {
	out.SetDefaults()
	out.Index = index
	out.BaseOffset, out.LogAppendTimeMs, out.LogStartOffset = -1, -1, -1
	code, message := a.outcome()
	out.ErrorCode = code
	if code != wire.None {
		if a.part != nil && !a.early && saysStart(code) {
			out.LogStartOffset = a.part.Log().Start()
		}
		if message != "" {
			out.ErrorMessage = &message
		}
		for _, bad := range a.bad {
			e := wire.ProduceResponseBatchIndexAndErrorMessage{BatchIndex: bad.Index}
			if bad.Msg != "" {
				text := bad.Msg
				e.BatchIndexErrorMessage = &text
			}
			out.RecordErrors = append(out.RecordErrors, e)
		}
		return
	}
	out.BaseOffset, out.LogStartOffset = a.BaseOffset, a.LogStart
	switch {
	case a.Duplicate:
		out.LogAppendTimeMs = a.DuplicateTime // that of its first copy, whatever the topic's kind of timestamps
	case a.part.Config().TimestampType == config.LogAppendTime:
		out.LogAppendTimeMs = batchTime(a.Records)
	}
}

// saysStart tells whether Kafka's answer to a batch that the log has refused has the log's start.
func saysStart(code wire.Code) bool {
	switch code {
	case wire.CorruptMessage, wire.MessageTooLarge, wire.KafkaStorageError, wire.NotLeaderOrFollower, wire.UnknownTopicOrPartition,
		wire.InvalidRequiredAcks, wire.InvalidTopic:
		return false
	}
	return true
}

// batchTime is the time stamped into a batch of a topic with LogAppendTime.
func batchTime(batch []byte) int64 { return record.Batch(batch).MaxTimestamp() }

// grow gives s the length n, reusing its memory and that of its elements.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		s = append(s[:cap(s)], make([]T, n-cap(s))...)
	}
	return s[:n]
}
