package record

import "encoding/binary"

// ControlType tells what a control record says. It stands in the record's key: int16 version, int16 type.
type ControlType int16

// The control records of Kafka.
const (
	ControlAbort          ControlType = 0
	ControlCommit         ControlType = 1
	ControlLeaderChange   ControlType = 2
	ControlSnapshotHeader ControlType = 3
	ControlSnapshotFooter ControlType = 4
	ControlKRaftVersion   ControlType = 5
	ControlKRaftVoters    ControlType = 6
)

// ParseControlType reads the key of a control record. A type that this version does not know is returned
// as it is: readers skip what they do not understand.
func ParseControlType(key []byte) (ControlType, error) {
	if len(key) < 4 {
		return 0, errorf(InvalidRecord, "key of a control record has %d bytes, it needs 4", len(key))
	}
	if version := int16(binary.BigEndian.Uint16(key)); version < 0 {
		return 0, errorf(InvalidRecord, "key of a control record has the invalid version %d", version)
	}
	return ControlType(binary.BigEndian.Uint16(key[2:])), nil
}

// AppendControl adds a control record; the batch's options must have Control set.
func (w *Builder) AppendControl(timestamp int64, t ControlType, value []byte) {
	var key [4]byte
	binary.BigEndian.PutUint16(key[2:], uint16(t))
	w.Append(timestamp, key[:], value)
}

// EndTxnMarker ends a producer's transaction in one partition. Its value: int16 version 0, int32
// coordinator epoch.
type EndTxnMarker struct {
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool
	// Timestamp in ms is when the coordinator wrote it.
	Timestamp int64
}

// AppendEndTxnMarker writes the batch of a transaction marker behind dst, as the partition's leader does on
// WriteTxnMarkers.
func AppendEndTxnMarker(dst []byte, m *EndTxnMarker) (Batch, error) {
	w := NewBuilder(dst, Options{
		Control: true, Transactional: true, Idempotent: true,
		ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, BaseSequence: NoSequence,
	})
	t := ControlAbort
	if m.Commit {
		t = ControlCommit
	}
	var value [6]byte
	binary.BigEndian.PutUint32(value[2:], uint32(m.CoordinatorEpoch))
	w.AppendControl(m.Timestamp, t, value[:])
	return w.Finish()
}

// EndTxnMarker reads a batch as a transaction marker; ok is false for every other batch, including control
// batches of the quorum and one whose record compaction has removed.
func (b Batch) EndTxnMarker() (m EndTxnMarker, ok bool, err error) {
	if !b.IsControl() || b.ProducerID() <= NoProducerID || b.Count() == 0 {
		return m, false, nil
	}
	it, err := b.Iterate(nil, DefaultMaxInflated)
	if err != nil {
		return m, false, err
	}
	r, found := it.Next()
	if !found {
		return m, false, it.Err()
	}
	t, err := ParseControlType(r.Key)
	if err != nil || t != ControlAbort && t != ControlCommit {
		return m, false, err
	}
	if len(r.Value) < 6 {
		return m, false, errorf(InvalidRecord, "value of a transaction marker has %d bytes, it needs 6", len(r.Value))
	}
	return EndTxnMarker{
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), Commit: t == ControlCommit,
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:])), Timestamp: r.Timestamp,
	}, true, nil
}
