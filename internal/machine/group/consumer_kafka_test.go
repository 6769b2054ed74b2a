package group

import (
	"bytes"
	"os"
	"testing"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
)

// TestReplaysWhatKafkaWrote replays a partition in which Apache Kafka 4.3.1 has kept groups of Java clients: members of
// the consumer protocol that come and go, a static one, more partitions, regular expressions, a move down to the
// classic protocol and up again. Each record must be written back as it was read, each beginning must be sound, and
// Kafka's hashes of topics must be ours.
func TestReplaysWhatKafkaWrote(t *testing.T) {
	segment, err := os.ReadFile("testdata/consumer-groups-4.3.1.log")
	if err != nil {
		t.Fatal(err)
	}
	d := newDriver()
	kinds := map[int16]int{}
	ids := map[int]wire.UUID{} // topics, by how many partitions of them were assigned
	hashes := map[int64]bool{}
	for len(segment) > 0 {
		batch, rest, err := record.Next(segment)
		if err != nil {
			t.Fatal(err)
		}
		segment = rest
		var scratch []byte
		it, err := record.IterateEntry(batch, &scratch, record.DefaultMaxInflated)
		if err != nil {
			t.Fatal(err)
		}
		for r, ok := it.Next(); ok; r, ok = it.Next() {
			known, err := d.machine.Apply(&Entry{Offset: r.Offset, ProducerID: -1, Key: r.Key, Value: r.Value})
			if err != nil || !known {
				t.Fatal(r.Offset, known, err)
			}
			key, err := wire.DecodeGroupKey(r.Key)
			if err != nil || !bytes.Equal(wire.AppendKey(nil, key), r.Key) {
				t.Fatalf("key at %d: %v", r.Offset, err)
			}
			kinds[key.CoordinatorType()]++
			if r.Value == nil {
				continue
			}
			value, version, err := wire.DecodeGroupValue(key.CoordinatorType(), r.Value)
			if err != nil || !bytes.Equal(wire.AppendValue(nil, value, version), r.Value) {
				t.Fatalf("value at %d: %v", r.Offset, err)
			}
			switch v := value.(type) {
			case *wire.ConsumerGroupTargetAssignmentMemberValue:
				for _, tp := range v.TopicPartitions {
					ids[len(tp.Partitions)] = tp.TopicID
				}
			case *wire.ConsumerGroupMetadataValue:
				hashes[v.MetadataHash] = true
			}
		}
		if text := d.checkOwners(); text != "" {
			t.Fatal(text)
		}
	}
	for _, kind := range []int16{2, 3, 5, 6, 7, 8, 16} {
		if kinds[kind] == 0 {
			t.Errorf("no record of type %d", kind)
		}
	}
	// The group that reads t1, with six partitions, and t2, with five.
	d.setTopicID("t1", ids[6], 6)
	d.setTopicID("t2", ids[5], 5)
	c := d.machine.Consumers
	if h := GroupHash([]int64{c.hash("t1"), c.hash("t2")}); !hashes[h] {
		t.Errorf("Kafka does not know the hash %d, but %v", h, hashes)
	}
}
