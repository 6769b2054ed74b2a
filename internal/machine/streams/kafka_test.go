package streams

import (
	"bytes"
	"os"
	"strings"
	"testing"

	format "github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	base "github.com/moldau/moldau/internal/machine/group"
)

// testdata/kafka-4.3.1.log is what Apache Kafka 4.3.1 wrote for a word count with two instances of two threads and
// one standby, of which one instance left: the group must load, and what it loads must be written in the same bytes.
func TestReadsAndWritesAsKafka(t *testing.T) {
	segment, err := os.ReadFile("testdata/kafka-4.3.1.log")
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver()
	checked := map[string]int{}
	for len(segment) > 0 {
		b, rest, err := format.Next(segment)
		if err != nil {
			t.Fatal(err)
		}
		segment = rest
		var scratch []byte
		it, err := format.IterateEntry(b, &scratch, format.DefaultMaxInflated)
		if err != nil {
			t.Fatal(err)
		}
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			known, err := d.groups.Apply(bytes.Clone(r.Key), bytes.Clone(r.Value))
			if err != nil {
				t.Fatal(err)
			}
			if !known {
				continue
			}
			name, again := d.rewrite(t, r.Key, r.Value == nil)
			checked[name]++
			if !bytes.Equal(again.Key, r.Key) || !bytes.Equal(again.Value, r.Value) || (again.Value == nil) != (r.Value == nil) {
				t.Errorf("offset %d: Kafka wrote\n %x %x\nwe write\n %x %x", r.Offset, r.Key, r.Value, again.Key, again.Value)
			}
		}
	}
	for _, kind := range []string{"Metadata", "MemberMetadata", "TargetAssignmentMetadata", "TargetAssignmentMember", "CurrentMemberAssignment", "Topology"} {
		if checked[kind] == 0 {
			t.Errorf("no %s among %v", kind, checked)
		}
	}
	g := d.groups.Describe("app")
	if g.GroupState != "Stable" || g.GroupEpoch != 8 || len(g.Members) != 2 || len(g.Topology.Subtopologies) != 2 {
		t.Errorf("%+v", g)
	}
}

// rewrite makes the record with this key out of the state.
func (d *driver) rewrite(t *testing.T, key []byte, gone bool) (string, base.Record) {
	t.Helper()
	k, err := wire.DecodeGroupKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if gone {
		return "tombstone", tombstone(k)
	}
	switch k := k.(type) {
	case *wire.StreamsGroupMetadataKey:
		g := d.groups.groups[k.GroupID]
		return "Metadata", epochRecord(g.id, g.epoch, g.hash, g.validated, g.lastConfigs)
	case *wire.StreamsGroupTopologyKey:
		g := d.groups.groups[k.GroupID]
		return "Topology", topologyRecord(g.id, g.topology)
	case *wire.StreamsGroupMemberMetadataKey:
		return "MemberMetadata", profileRecord(k.GroupID, k.MemberID, &d.groups.groups[k.GroupID].members[k.MemberID].profile)
	case *wire.StreamsGroupCurrentMemberAssignmentKey:
		return "CurrentMemberAssignment", progressRecord(k.GroupID, k.MemberID, &d.groups.groups[k.GroupID].members[k.MemberID].progress)
	case *wire.StreamsGroupTargetAssignmentMetadataKey:
		g := d.groups.groups[k.GroupID]
		return "TargetAssignmentMetadata", targetEpochRecord(g.id, g.assignedEpoch, g.assignedAt)
	case *wire.StreamsGroupTargetAssignmentMemberKey:
		return "TargetAssignmentMember", targetRecord(k.GroupID, k.MemberID, d.groups.groups[k.GroupID].target[k.MemberID])
	default:
		t.Fatal(strings.TrimPrefix(showRecord(base.Record{Key: key}), "*"))
		return "", base.Record{}
	}
}
