package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// foreign is what the messages of the independent implementation have in common.
type foreign interface {
	AppendTo([]byte) []byte
	ReadFrom([]byte) error
}

// versioned is a foreign message that is told its version.
type versioned interface {
	foreign
	SetVersion(int16)
}

const fills = 25 // random values for each message and version

// agree checks that both implementations read what the other one writes, and write it again as it was.
func agree(t *testing.T, version int16, ours func() Record, theirs func() foreign, except ...string) {
	t.Helper()
	except = append(except, "UnknownTags", "Version")
	for seed := range uint64(fills) {
		m := ours()
		newFiller(seed, int(seed)%4*2).fill(m)
		ownToForeign(t, m, version, ours, theirs)
		f := theirs()
		newFiller(seed, int(seed)%4*2).fill(f, except...)
		notNull(f)
		foreignToOwn(t, f.AppendTo(nil), version, ours)
		if t.Failed() {
			return
		}
	}
	m := ours()
	m.SetDefaults()
	ownToForeign(t, m, version, ours, theirs)
}

func ownToForeign(t *testing.T, m Record, version int16, ours func() Record, theirs func() foreign) {
	t.Helper()
	want := m.Append(nil, version)
	f := theirs()
	if err := f.ReadFrom(want); err != nil {
		t.Errorf("the oracle cannot read %x of %+v: %v", want, m, err)
		return
	}
	if got := f.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("the oracle writes\n%x\nwhere we write\n%x\nfor %+v", got, want, m)
		return
	}
	foreignToOwn(t, want, version, ours)
}

// foreignToOwn checks that the bytes are read in full and written again as they were, and that a message that was used
// before is overwritten completely.
func foreignToOwn(t *testing.T, in []byte, version int16, ours func() Record) {
	t.Helper()
	fresh := ours()
	r := NewReader(in)
	fresh.Decode(r, version)
	if err := r.Finish(); err != nil {
		t.Errorf("reading %x: %v", in, err)
		return
	}
	if got := fresh.Append(nil, version); !bytes.Equal(got, in) {
		t.Errorf("we write\n%x\nfor what was\n%x\nand was read as %+v", got, in, fresh)
		return
	}
	used := ours()
	newFiller(uint64(len(in)), 1).fill(used)
	r = NewReader(append([]byte{}, in...))
	r.AliasStrings = true
	used.Decode(r, version)
	if err := r.Finish(); err != nil {
		t.Errorf("reading %x into a used message: %v", in, err)
	}
	if diff := cmp.Diff(fresh, used, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a used message differs from a fresh one (-fresh +used):\n%s", diff)
	}
	if got := used.Append(nil, version); !bytes.Equal(got, in) {
		t.Errorf("a used message is written as\n%x\ninstead of\n%x", got, in)
	}
}

// notNull takes away the null of the one field that the oracle takes for nullable and Kafka does not.
func notNull(f foreign) {
	m, ok := f.(*kmsg.ShareFetchResponse)
	if !ok {
		return
	}
	for i := range m.Topics {
		for j := range m.Topics[i].Partitions {
			p := &m.Topics[i].Partitions[j]
			p.Records = append([]byte{}, p.Records...)
		}
	}
}

// early has tagged fields that the oracle writes in lower versions than Kafka does, with the first version of Kafka.
var early = map[string]map[string]int16{
	"ProduceResponse":        {"Brokers": 10, "CurrentLeader": 10},
	"FetchRequest":           {"ReplicaState": 15, "ReplicaDirectoryID": 17, "HighWatermark": 18},
	"FetchResponse":          {"Brokers": 16},
	"VoteResponse":           {"NodeEndpoints": 1},
	"FetchSnapshotRequest":   {"ReplicaDirectoryID": 1},
	"FetchSnapshotResponse":  {"NodeEndpoints": 1},
	"BrokerHeartbeatRequest": {"OfflineLogDirs": 1, "CordonedLogDirs": 2},
}

func TestMessagesAgreeWithOracle(t *testing.T) {
	for i := range APIs {
		a := &APIs[i]
		for version := a.Min; version <= a.Max; version++ {
			t.Run(fmt.Sprintf("%s/request/%d", a.Name, version), func(t *testing.T) {
				oracle := kmsg.RequestForKey(a.Key)
				against(t, version, a.NewRequest, oracle, oracle.MaxVersion())
			})
			t.Run(fmt.Sprintf("%s/response/%d", a.Name, version), func(t *testing.T) {
				oracle := kmsg.ResponseForKey(a.Key)
				against(t, version, a.NewResponse, oracle, oracle.MaxVersion())
			})
		}
	}
}

// against compares one message in one version with new messages of the type of the oracle, if that knows the version.
func against(t *testing.T, version int16, ours func() Message, oracle any, highest int16) {
	own := func() Record { return ours() }
	if version > highest {
		roundTrip(t, version, own)
		return
	}
	kind := reflect.TypeOf(oracle).Elem()
	var except []string
	for name, from := range early[kind.Name()] {
		if version < from {
			except = append(except, name)
		}
	}
	agree(t, version, own, func() foreign {
		f := reflect.New(kind).Interface().(versioned)
		f.SetVersion(version)
		return f
	}, except...)
}

// roundTrip is what is left to check of a message that no oracle knows.
func roundTrip(t *testing.T, version int16, ours func() Record) {
	t.Helper()
	for seed := range uint64(fills) {
		m := ours()
		newFiller(seed, int(seed)%4*2).fill(m)
		foreignToOwn(t, m.Append(nil, version), version, ours)
	}
	m := ours()
	m.SetDefaults()
	foreignToOwn(t, m.Append(nil, version), version, ours)
}

// prefixed makes a foreign message with its version as the first field look like one without.
type prefixed struct {
	Body    foreign
	version int16
}

func (p *prefixed) AppendTo(b []byte) []byte {
	reflect.ValueOf(p.Body).Elem().FieldByName("Version").SetInt(int64(p.version))
	return append(b, p.Body.AppendTo(nil)[2:]...)
}

func (p *prefixed) ReadFrom(b []byte) error {
	return p.Body.ReadFrom(append(AppendInt16(nil, p.version), b...))
}

func TestDataAgreesWithOracle(t *testing.T) {
	for _, c := range []struct {
		ours   Record
		theirs foreign
	}{
		{&OffsetCommitValue{}, &kmsg.OffsetCommitValue{}},
		{&GroupMetadataValue{}, &kmsg.GroupMetadataValue{}},
		{&TransactionLogValue{}, &kmsg.TxnMetadataValue{}},
		{&ConsumerProtocolSubscription{}, &kmsg.ConsumerMemberMetadata{}},
		{&ConsumerProtocolAssignment{}, &kmsg.ConsumerMemberAssignment{}},
		{&EndTxnMarker{}, &kmsg.EndTxnMarker{}},
		{&DefaultPrincipalData{}, &kmsg.DefaultPrincipalData{}},
	} {
		kind := reflect.TypeOf(c.ours).Elem()
		for version := c.ours.MinVersion(); version <= c.ours.MaxVersion(); version++ {
			t.Run(fmt.Sprintf("%s/%d", kind.Name(), version), func(t *testing.T) {
				agree(t, version, func() Record { return reflect.New(kind).Interface().(Record) }, func() foreign {
					return &prefixed{reflect.New(reflect.TypeOf(c.theirs).Elem()).Interface().(foreign), version}
				})
			})
		}
	}
}

func TestKeysAgreeWithOracle(t *testing.T) {
	for seed := range uint64(fills) {
		var (
			offset kmsg.OffsetCommitKey
			group  kmsg.GroupMetadataKey
			txn    kmsg.TxnMetadataKey
		)
		for _, k := range []any{&offset, &group, &txn} {
			newFiller(seed, 1).fill(k)
		}
		offset.Version, group.Version, txn.Version = 1, 2, 0
		for _, c := range []struct {
			in     []byte
			decode func([]byte) (CoordinatorRecord, error)
		}{
			{offset.AppendTo(nil), DecodeGroupKey},
			{group.AppendTo(nil), DecodeGroupKey},
			{txn.AppendTo(nil), DecodeTransactionKey},
		} {
			key, err := c.decode(c.in)
			if err != nil {
				t.Fatalf("reading the key %x: %v", c.in, err)
			}
			if got := AppendKey(nil, key); !bytes.Equal(got, c.in) {
				t.Fatalf("we write\n%x\nfor what was\n%x", got, c.in)
			}
		}
	}
}

// records are all messages that are neither requests nor responses.
func records() []Record {
	out := []Record{
		&AbortedTxn{}, &ConsumerProtocolAssignment{}, &ConsumerProtocolSubscription{}, &ControlRecordTypeSchema{},
		&DefaultPrincipalData{}, &EndTxnMarker{}, &KRaftVersionRecord{}, &LeaderChangeMessage{}, &ProducerSnapshot{},
		&QuorumStateData{}, &SnapshotFooterRecord{}, &SnapshotHeaderRecord{}, &VotersRecord{},
	}
	for kind := range int16(64) {
		for _, rec := range []Record{newMetadataRecord(kind), newRemoteLogRecord(kind)} {
			if !reflect.ValueOf(&rec).Elem().IsNil() && !isNil(rec) {
				out = append(out, rec)
			}
		}
		for _, create := range []func(int16) CoordinatorRecord{
			newGroupKey, newGroupValue, newTransactionKey, newTransactionValue, newShareKey, newShareValue,
		} {
			if rec := create(kind); rec != nil {
				out = append(out, rec)
			}
		}
	}
	return out
}

func isNil(rec Record) bool { return rec == nil || reflect.ValueOf(rec).IsNil() }

func TestRecordsRoundTrip(t *testing.T) {
	all := records()
	if len(all) != 13+27+4+44+2+4 {
		t.Errorf("there are %d kinds of records", len(all))
	}
	for _, rec := range all {
		kind := reflect.TypeOf(rec).Elem()
		for version := rec.MinVersion(); version <= rec.MaxVersion(); version++ {
			t.Run(fmt.Sprintf("%s/%d", kind.Name(), version), func(t *testing.T) {
				roundTrip(t, version, func() Record { return reflect.New(kind).Interface().(Record) })
			})
		}
	}
}
