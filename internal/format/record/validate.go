package record

import (
	"errors"
	"math"

	"github.com/moldau/moldau/internal/format/compress"
)

// DefaultMaxInflated bounds what the records of one batch may unpack to when the caller names no bound.
const DefaultMaxInflated = 64 << 20

// maxBadRecords bounds the list of bad records in an answer.
//
// Differs from Kafka: the answer to a batch with bad records lists the first hundred of them. Kafka lists every one, so that
// a batch of a million bad records is answered by a million messages.
const maxBadRecords = 100

// Target is a topic's compression.type: the producer's choice (the zero value) or a fixed codec.
type Target struct {
	Fixed bool
	Codec compress.Codec
	// Level is the codec's level, compress.DefaultLevel for its default.
	Level int
}

// wants tells whether a batch packed by c has to be repacked.
func (t *Target) wants(c compress.Codec) bool { return t.Fixed && t.Codec != c }

// Limits is what a topic demands of a batch.
type Limits struct {
	// MaxBatchBytes is max.message.bytes, 0 for no bound.
	MaxBatchBytes int
	// Compacted demands a key of each record (cleanup.policy contains compact).
	Compacted bool
	// TimestampType is message.timestamp.type.
	TimestampType TimestampType
	// Now is the broker's time in ms. BeforeMax and AfterMax are message.timestamp.before.max.ms and
	// message.timestamp.after.max.ms; they count for CreateTime only.
	Now, BeforeMax, AfterMax int64
	// Target is compression.type with the codec's level.
	Target Target
	// MaxInflated bounds the unpacked records in bytes, 0 for DefaultMaxInflated.
	MaxInflated int
	// RefuseZstd is set for Produce requests below version 7 (KIP-110).
	RefuseZstd bool
}

// Info is what Validate has learnt of a batch.
type Info struct {
	Batch Batch
	Count int32
	// MaxTimestamp is what the log's time index has to know, in ms: the greatest of the records', or the
	// append time, NoTimestamp if no record has one.
	MaxTimestamp int64
	// OffsetOfMax is the delta to the base offset of the first record with MaxTimestamp.
	OffsetOfMax int32
	// Inflated is the size of the unpacked records, 0 if they were not unpacked.
	Inflated int
}

// Validate checks the records of one partition of a Produce request: exactly one batch of format 2 that
// a client may write and the topic takes. It changes nothing and allocates nothing unless it refuses (a
// packed batch is unpacked into pooled memory). Every error is an *Error. What Prepare does must follow before the batch is
// appended.
//
// The checks are those of Kafka's ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords and LogValidator.
//
// Differs from Kafka: a batch of a producer is refused that has bytes behind its end, offset deltas that do not count up
// from 0, a transaction without a producer id, a producer id without an epoch, a delete horizon, the broker's kind of
// timestamps, or packed records whose fields do not fill their length. Kafka ignores these or repairs some; no known client
// sends them.
func Validate(records []byte, l *Limits) (Info, error) {
	b, err := onlyBatch(records, l.RefuseZstd)
	if err != nil {
		return Info{}, err
	}
	if err := checkHeader(b, l); err != nil {
		return Info{}, err
	}
	info := Info{Batch: b, Count: b.Count()}
	switch codec := b.Codec(); {
	case codec == compress.None:
		err = info.inspect(b.Records(), l)
	default:
		err = info.unpack(l)
	}
	if err != nil {
		return Info{}, err
	}
	if l.TimestampType == LogAppendTime {
		info.MaxTimestamp, info.OffsetOfMax = l.Now, 0
	}
	return info, nil
}

// CheckFrame is Validate as far as it does not depend on the topic: what it finds is wrong with the request.
func CheckFrame(records []byte, refuseZstd bool) error {
	_, err := onlyBatch(records, refuseZstd)
	return err
}

// onlyBatch takes the one whole batch of format 2 that a partition of a Produce request must be.
func onlyBatch(records []byte, refuseZstd bool) (Batch, error) {
	b, rest, err := Next(records)
	switch {
	case err != nil && !errors.Is(err, ErrShort):
		return nil, refuseFrame(err)
	case err != nil || b == nil:
		return nil, early(InvalidRecord, "a Produce request must hold one whole record batch per partition, %d bytes are none", len(records))
	case refuseZstd && len(b) >= HeaderSize && b.Codec() == compress.Zstd:
		return nil, early(UnsupportedCompression, "Produce requests before version 7 are not allowed to use zstd")
	case len(rest) > 0:
		return nil, refuseRest(rest)
	}
	return b, nil
}

// refuseRest tells what is wrong with bytes behind the batch.
func refuseRest(rest []byte) error {
	if _, _, err := Next(rest); err != nil && !errors.Is(err, ErrShort) {
		return refuseFrame(err)
	}
	return early(InvalidRecord, "a Produce request must hold exactly one record batch per partition, %d bytes follow the first", len(rest))
}

// refuseFrame turns what Next says of a message set of format 0 or 1 into what Kafka answers to producers
// since it has dropped these formats: INVALID_RECORD.
func refuseFrame(err error) error {
	var refused *Error
	if errors.As(err, &refused) && refused.Kind == OldFormat {
		return early(InvalidRecord, "a Produce request must hold a record batch of message format 2: %s", refused.Msg)
	}
	return err
}

// checkHeader checks all that the header and the CRC tell.
func checkHeader(b Batch, l *Limits) error {
	if l.MaxBatchBytes > 0 && len(b) > l.MaxBatchBytes {
		return errorf(TooLarge, "record batch of %d bytes exceeds max.message.bytes of the topic, %d bytes", len(b), l.MaxBatchBytes)
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	if offset := b.BaseOffset(); offset != 0 {
		return errorf(InvalidRecord, "the base offset of a produced record batch must be 0, it is %d", offset)
	}
	count, delta := b.Count(), b.LastOffsetDelta()
	if count <= 0 || delta != count-1 {
		return errorf(InvalidRecord, "record batch declares %d records and the last offset delta %d; it must have a record, and the delta be one less than the count", count, delta)
	}
	switch {
	case b.IsControl():
		return errorf(InvalidRecord, "clients are not allowed to write control records")
	case b.HasDeleteHorizon():
		return errorf(InvalidRecord, "clients are not allowed to set a delete horizon")
	case b.TimestampType() == LogAppendTime:
		return errorf(InvalidTimestamp, "producers are not allowed to set the timestamp type to LogAppendTime")
	}
	if err := checkProducer(b); err != nil {
		return err
	}
	if codec := b.Codec(); !codec.Valid() {
		return errorf(UnsupportedCompression, "record batch is packed by the unknown codec %d", int8(codec))
	}
	return nil
}

// checkProducer checks that the fields of an idempotent producer are all there or not claimed.
func checkProducer(b Batch) error {
	id, epoch, sequence := b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()
	switch {
	case id <= NoProducerID && b.IsTransactional():
		return errorf(InvalidRecord, "transactional record batch has no producer id")
	case id <= NoProducerID:
		return nil
	case epoch < 0:
		return errorf(InvalidRecord, "record batch of producer %d has the invalid epoch %d", id, epoch)
	case sequence < 0:
		return errorf(InvalidRecord, "record batch of producer %d has the invalid sequence number %d", id, sequence)
	}
	return nil
}

// inspect walks the unpacked records.
func (info *Info) inspect(p []byte, l *Limits) error {
	base := info.Batch.BaseTimestamp()
	w, ok := walk(p, info.Count, base)
	if !ok {
		return walkError(p, info.Count)
	}
	info.MaxTimestamp, info.OffsetOfMax = w.maxTimestamp, w.maxIndex
	inWindow := l.TimestampType == LogAppendTime || l.inWindow(w.minTimestamp) && l.inWindow(w.maxTimestamp)
	if inWindow && !(w.nullKey && l.Compacted) {
		return nil
	}
	return listBadRecords(p, info.Count, base, l)
}

// inWindow tells whether a record's timestamp is acceptable under CreateTime.
func (l *Limits) inWindow(timestamp int64) bool {
	age := l.Now - timestamp
	return age <= l.BeforeMax && -age <= l.AfterMax
}

// window is the accepted range for messages; bounds that overflow are open.
func (l *Limits) window() (from, to int64) {
	from, to = l.Now-l.BeforeMax, l.Now+l.AfterMax
	if to < l.Now {
		to = math.MaxInt64
	}
	return from, to
}

// listBadRecords names the records that break the topic's rules; nil if after all none does, which is so
// when only records without a timestamp lay outside of the window.
func listBadRecords(p []byte, count int32, baseTimestamp int64, l *Limits) error {
	var bad []BadRecord
	total, wrongTime := 0, false
	at := 0
	from, to := l.window()
	for n := range count {
		size, next := varint(p, at)
		r := p[next : next+int(size)]
		at = next + int(size)
		delta, q := varlong(r, 1)
		_, q = varint(r, q)
		key, _ := varint(r, q)
		timestamp := baseTimestamp + delta
		var one *Error
		switch {
		case key < 0 && l.Compacted:
			one = errorf(InvalidRecord, "compacted topic cannot accept message without key")
		case l.TimestampType == CreateTime && timestamp != NoTimestamp && !l.inWindow(timestamp):
			wrongTime = true
			one = errorf(InvalidTimestamp, "timestamp %d of the message is out of range, it should be within [%d, %d]",
				timestamp, from, to)
		default:
			continue
		}
		total++
		if len(bad) < maxBadRecords {
			bad = append(bad, BadRecord{Index: n, Msg: one.Msg})
		}
	}
	if total == 0 {
		return nil
	}
	refusal := errorf(InvalidRecord, "%d of %d records have been rejected, the first is record %d: %s",
		total, count, bad[0].Index, bad[0].Msg)
	if wrongTime {
		refusal.Kind = InvalidTimestamp
	}
	refusal.Records = bad
	return refusal
}

// unpack walks the records of a packed batch.
func (info *Info) unpack(l *Limits) error {
	s := compress.BorrowScratch()
	defer s.Release()
	var err error
	s.B, err = inflate(s.B, info.Batch, l.maxInflated())
	if err != nil {
		return err
	}
	info.Inflated = len(s.B)
	return info.inspect(s.B, l)
}

func (l *Limits) maxInflated() int {
	if l.MaxInflated > 0 {
		return l.MaxInflated
	}
	return DefaultMaxInflated
}

// inflate appends the unpacked records of b to dst; errors are *Error.
func inflate(dst []byte, b Batch, limit int) ([]byte, error) {
	out, err := compress.Decompress(dst, b.Records(), b.Codec(), limit)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, compress.ErrTooLarge):
		return dst, errorf(TooLarge, "the records of the batch unpack to more than %d bytes", limit)
	case errors.Is(err, compress.ErrUnknownCodec):
		return dst, errorf(UnsupportedCompression, "record batch: %v", err)
	default:
		return dst, errorf(InvalidRecord, "the records of the batch cannot be unpacked: %v", err)
	}
}
