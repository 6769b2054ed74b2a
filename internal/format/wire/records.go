package wire

import (
	"errors"
	"fmt"
)

// Record is what all records and other data that carry a version have in common.
type Record interface {
	MinVersion() int16
	MaxVersion() int16
	SetDefaults()
	Decode(r *Reader, version int16)
	Append(b []byte, version int16) []byte
}

// MetadataRecord is a record of the KRaft metadata log.
type MetadataRecord interface {
	Record
	RecordType() int16
}

// RemoteLogRecord is a record of the topic __remote_log_metadata.
type RemoteLogRecord interface {
	Record
	RemoteLogType() int16
}

// CoordinatorRecord is the key or the value of a record of a coordinator's topic.
type CoordinatorRecord interface {
	Record
	CoordinatorType() int16
}

// Types of control records, which are the second number in the record's key; the first is a version, 0.
const (
	ControlAbort          int16 = 0 // EndTxnMarker
	ControlCommit         int16 = 1 // EndTxnMarker
	ControlLeaderChange   int16 = 2 // LeaderChangeMessage
	ControlSnapshotHeader int16 = 3 // SnapshotHeaderRecord
	ControlSnapshotFooter int16 = 4 // SnapshotFooterRecord
	ControlKRaftVersion   int16 = 5 // KRaftVersionRecord
	ControlKRaftVoters    int16 = 6 // VotersRecord
)

// ErrUnknownRecordType is wrapped by the errors about records of a type that is not known. In a coordinator's topic
// such a record is to be skipped; in the metadata log it is fatal, as in Kafka.
var ErrUnknownRecordType = errors.New("unknown record type")

// frameVersion stands before each record of the metadata log and of the remote log metadata topic.
const frameVersion = 1

// AppendMetadataRecord appends the record in the given version, with the frame that tells its type and version.
func AppendMetadataRecord(b []byte, rec MetadataRecord, version int16) []byte {
	return rec.Append(appendFrame(b, rec.RecordType(), version), version)
}

// DecodeMetadataRecord reads a framed record. Strings and bytes are copied.
func DecodeMetadataRecord(b []byte) (rec MetadataRecord, version int16, err error) {
	r := NewReader(b)
	kind, version, err := readFrame(r)
	if err != nil {
		return nil, 0, fmt.Errorf("reading a metadata record: %w", err)
	}
	if rec = newMetadataRecord(kind); rec == nil {
		return nil, 0, fmt.Errorf("reading a metadata record of type %d: %w", kind, ErrUnknownRecordType)
	}
	if err := decodeRest(r, rec, version); err != nil {
		return nil, 0, fmt.Errorf("reading a metadata record of type %d in version %d: %w", kind, version, err)
	}
	return rec, version, nil
}

// AppendRemoteLogRecord appends the record in the given version, with the frame that tells its type and version.
func AppendRemoteLogRecord(b []byte, rec RemoteLogRecord, version int16) []byte {
	return rec.Append(appendFrame(b, rec.RemoteLogType(), version), version)
}

// DecodeRemoteLogRecord reads a framed record. Strings and bytes are copied.
func DecodeRemoteLogRecord(b []byte) (rec RemoteLogRecord, version int16, err error) {
	r := NewReader(b)
	kind, version, err := readFrame(r)
	if err != nil {
		return nil, 0, fmt.Errorf("reading a remote log record: %w", err)
	}
	if rec = newRemoteLogRecord(kind); rec == nil {
		return nil, 0, fmt.Errorf("reading a remote log record of type %d: %w", kind, ErrUnknownRecordType)
	}
	if err := decodeRest(r, rec, version); err != nil {
		return nil, 0, fmt.Errorf("reading a remote log record of type %d in version %d: %w", kind, version, err)
	}
	return rec, version, nil
}

func appendFrame(b []byte, kind, version int16) []byte {
	b = AppendUvarint(b, frameVersion)
	b = AppendUvarint(b, uint32(kind))
	return AppendUvarint(b, uint32(version))
}

func readFrame(r *Reader) (kind, version int16, err error) {
	if frame := r.Uvarint(); frame != frameVersion && r.Err() == nil {
		r.fail("the frame version is not 1")
	}
	for _, p := range []*int16{&kind, &version} {
		v := r.Uvarint()
		if v > MaxStringLength {
			r.fail("the type or version in the frame is too large")
		}
		*p = int16(v)
	}
	return kind, version, r.Err()
}

// decodeRest reads a record that takes up all that is left.
func decodeRest(r *Reader, rec Record, version int16) error {
	rec.Decode(r, version)
	return r.Finish()
}

// AppendKey appends the key of a coordinator's record: its type and the key itself, which has version 0 only.
func AppendKey(b []byte, key CoordinatorRecord) []byte {
	return key.Append(AppendInt16(b, key.CoordinatorType()), 0)
}

// AppendValue appends data with its version of two bytes in front: the values of coordinators' records, EndTxnMarker,
// and the consumers' protocol within groups. The other control records have their version as a field, and no such
// prefix.
func AppendValue(b []byte, value Record, version int16) []byte {
	return value.Append(AppendInt16(b, version), version)
}

// DecodeGroupKey reads the key of a record of __consumer_offsets; CoordinatorType of the result tells the type.
func DecodeGroupKey(b []byte) (CoordinatorRecord, error) { return decodeKey(b, newGroupKey) }

// DecodeTransactionKey reads the key of a record of __transaction_state.
func DecodeTransactionKey(b []byte) (CoordinatorRecord, error) {
	return decodeKey(b, newTransactionKey)
}

// DecodeShareKey reads the key of a record of __share_group_state.
func DecodeShareKey(b []byte) (CoordinatorRecord, error) { return decodeKey(b, newShareKey) }

// DecodeGroupValue reads the value of a record of __consumer_offsets whose key has this type.
func DecodeGroupValue(kind int16, b []byte) (rec CoordinatorRecord, version int16, err error) {
	return decodeValue(newGroupValue(kind), kind, b)
}

// DecodeTransactionValue reads the value of a record of __transaction_state whose key has this type.
func DecodeTransactionValue(kind int16, b []byte) (rec CoordinatorRecord, version int16, err error) {
	return decodeValue(newTransactionValue(kind), kind, b)
}

// DecodeShareValue reads the value of a record of __share_group_state whose key has this type.
func DecodeShareValue(kind int16, b []byte) (rec CoordinatorRecord, version int16, err error) {
	return decodeValue(newShareValue(kind), kind, b)
}

func decodeKey(b []byte, create func(int16) CoordinatorRecord) (CoordinatorRecord, error) {
	r := NewReader(b)
	kind := r.Int16()
	if r.Err() != nil {
		return nil, fmt.Errorf("reading the key of a coordinator record: %w", r.Err())
	}
	key := create(kind)
	if key == nil {
		return nil, fmt.Errorf("reading the key of a coordinator record of type %d: %w", kind, ErrUnknownRecordType)
	}
	if key.Decode(r, 0); r.Err() != nil {
		return nil, fmt.Errorf("reading the key of a coordinator record of type %d: %w", kind, r.Err())
	}
	return key, nil
}

func decodeValue(rec CoordinatorRecord, kind int16, b []byte) (CoordinatorRecord, int16, error) {
	if rec == nil {
		return nil, 0, fmt.Errorf("reading the value of a coordinator record of type %d: %w", kind, ErrUnknownRecordType)
	}
	version, err := DecodeValue(b, rec)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the value of a coordinator record of type %d: %w", kind, err)
	}
	return rec, version, nil
}

// DecodeValue reads a version of two bytes and then rec in that version. Bytes that follow are ignored, as Kafka does
// for all data of this form.
func DecodeValue(b []byte, rec Record) (version int16, err error) {
	r := NewReader(b)
	version = r.Int16()
	if rec.Decode(r, version); r.Err() != nil {
		return 0, fmt.Errorf("version %d: %w", version, r.Err())
	}
	return version, nil
}

// DecodeConsumerProtocol reads a ConsumerProtocolSubscription or ConsumerProtocolAssignment. Versions that are not
// known yet are read as the highest known one, because the protocol promises only to add to the end.
func DecodeConsumerProtocol(b []byte, rec Record) (version int16, err error) {
	r := NewReader(b)
	version = r.Int16()
	if rec.Decode(r, min(version, rec.MaxVersion())); r.Err() != nil {
		return 0, fmt.Errorf("reading consumer protocol data of version %d: %w", version, r.Err())
	}
	return version, nil
}
