package inspect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// content says what the records of a topic mean.
type content int

const (
	userContent content = iota
	metadataContent
	groupContent
	transactionContent
	shareContent
)

// contentOf tells by the topic's name.
func contentOf(topic string) content {
	switch topic {
	case "__cluster_metadata":
		return metadataContent
	case "__consumer_offsets":
		return groupContent
	case "__transaction_state":
		return transactionContent
	case "__share_group_state":
		return shareContent
	}
	return userContent
}

// decoded is a record of an internal topic in its parts; nil for records of users.
func (c content) decoded(r *record.Record) (Fields, error) {
	switch c {
	case metadataContent:
		rec, version, err := wire.DecodeMetadataRecord(r.Value)
		if err != nil {
			return nil, err
		}
		return message(rec, version), nil
	case groupContent:
		return coordinated(r, wire.DecodeGroupKey, wire.DecodeGroupValue)
	case transactionContent:
		return coordinated(r, wire.DecodeTransactionKey, wire.DecodeTransactionValue)
	case shareContent:
		return coordinated(r, wire.DecodeShareKey, wire.DecodeShareValue)
	}
	return nil, nil
}

// coordinated reads a record of a coordinator's topic. One of a later type is left alone, as coordinators do.
func coordinated(r *record.Record, key func([]byte) (wire.CoordinatorRecord, error), value func(int16, []byte) (wire.CoordinatorRecord, int16, error)) (Fields, error) {
	k, err := key(r.Key)
	if errors.Is(err, wire.ErrUnknownRecordType) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := Fields{{"type", typeName(k)}, {"key", plain(reflect.ValueOf(k))}}
	if r.Value == nil {
		return append(f, Field{"value", nil}), nil // a tombstone
	}
	v, version, err := value(k.CoordinatorType(), r.Value)
	if err != nil {
		return f, err
	}
	return append(f, Field{"version", version}, Field{"value", plain(reflect.ValueOf(v))}), nil
}

func message(m any, version int16) Fields {
	return Fields{{"type", typeName(m)}, {"version", version}, {"data", plain(reflect.ValueOf(m))}}
}

// typeName is the message's name in Kafka's specifications.
func typeName(m any) string { return reflect.TypeOf(m).Elem().Name() }

// control reads a control record.
func control(r *record.Record) (Fields, error) {
	kind, err := record.ParseControlType(r.Key)
	if err != nil {
		return nil, err
	}
	var m wire.Record
	var name string
	switch kind {
	case record.ControlAbort, record.ControlCommit:
		end := &wire.EndTxnMarker{}
		version, err := wire.DecodeValue(r.Value, end)
		f := message(end, version)
		f[0].Value = strings.ToUpper(map[bool]string{true: "commit", false: "abort"}[kind == record.ControlCommit])
		return f, err
	case record.ControlLeaderChange:
		m, name = &wire.LeaderChangeMessage{}, "LEADER_CHANGE"
	case record.ControlSnapshotHeader:
		m, name = &wire.SnapshotHeaderRecord{}, "SNAPSHOT_HEADER"
	case record.ControlSnapshotFooter:
		m, name = &wire.SnapshotFooterRecord{}, "SNAPSHOT_FOOTER"
	case record.ControlKRaftVersion:
		m, name = &wire.KRaftVersionRecord{}, "KRAFT_VERSION"
	case record.ControlKRaftVoters:
		m, name = &wire.VotersRecord{}, "KRAFT_VOTERS"
	default:
		return Fields{{"type", fmt.Sprintf("UNKNOWN_%d", kind)}}, nil
	}
	if len(r.Value) < 2 {
		return nil, fmt.Errorf("the value of a control record has %d bytes", len(r.Value))
	}
	version := int16(binary.BigEndian.Uint16(r.Value)) // these have their version as the first field
	if version < m.MinVersion() || version > m.MaxVersion() {
		return Fields{{"type", name}, {"version", version}}, nil
	}
	reader := wire.NewReader(r.Value)
	m.Decode(reader, version)
	f := message(m, version)
	f[0].Value = name
	return f, reader.Err()
}
