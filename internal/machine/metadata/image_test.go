package metadata

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/format/wire"
)

func id(n int) wire.UUID { return wire.UUID{0: 9, 12: byte(n >> 8), 15: byte(n)} }

// encode writes the snapshot of an image.
func encode(i *Image) [][]byte {
	var all [][]byte
	for rec := range i.Records() {
		all = append(all, AppendRecord(nil, rec, i.MetadataVersion()))
	}
	return all
}

// decode builds an image from a snapshot.
func decode(t *testing.T, values [][]byte, offset int64, epoch int32) *Image {
	t.Helper()
	d := Empty().Edit()
	for _, v := range values {
		rec, _, err := wire.DecodeMetadataRecord(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Apply(rec); err != nil {
			t.Fatal(err)
		}
	}
	i, err := d.Finish(offset, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func apply(t *testing.T, i *Image, records ...wire.MetadataRecord) (*Image, *Delta) {
	t.Helper()
	d := i.Edit()
	for _, r := range records {
		if err := d.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	next, err := d.Finish(i.Offset()+int64(len(records)), 1)
	if err != nil {
		t.Fatal(err)
	}
	return next, d
}

func partition(topic wire.UUID, n int32) *wire.PartitionRecord {
	return &wire.PartitionRecord{
		TopicID: topic, PartitionID: n, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1,
		RemovingReplicas: []int32{}, AddingReplicas: []int32{}, Directories: []wire.UUID{id(1), id(2)},
	}
}

// everything has at least one record of each kind that an image keeps.
func everything() []wire.MetadataRecord {
	return []wire.MetadataRecord{
		&wire.FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: LatestVersion},
		&wire.FeatureLevelRecord{Name: FeatureGroupVersion, FeatureLevel: 1},
		&wire.RegisterBrokerRecord{
			BrokerID: 1, BrokerEpoch: 7, IncarnationID: id(40), Rack: new("r1"), Fenced: true,
			EndPoints: []wire.RegisterBrokerRecordBrokerEndpoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}},
			Features:  []wire.RegisterBrokerRecordBrokerFeature{{Name: FeatureGroupVersion, MaxSupportedVersion: 1}},
			LogDirs:   []wire.UUID{id(1)}, CordonedLogDirs: []wire.UUID{id(1)},
		},
		&wire.RegisterBrokerRecord{BrokerID: 2, BrokerEpoch: 8, LogDirs: []wire.UUID{id(2)}},
		&wire.RegisterControllerRecord{ControllerID: 1, IncarnationID: id(41)},
		&wire.TopicRecord{Name: "a", TopicID: id(100)},
		partition(id(100), 0),
		&wire.PartitionRecord{
			TopicID: id(100), PartitionID: 1, Replicas: []int32{2, 1}, ISR: []int32{2}, Leader: NoLeader,
			LeaderEpoch: 4, PartitionEpoch: 9, RemovingReplicas: []int32{1}, AddingReplicas: []int32{2},
			LeaderRecoveryState: Recovering, Directories: []wire.UUID{id(2), id(1)},
			EligibleLeaderReplicas: []int32{1}, LastKnownELR: []int32{2},
		},
		&wire.ConfigRecord{ResourceType: TopicResource, ResourceName: "a", Name: "retention.ms", Value: new("1")},
		&wire.ConfigRecord{ResourceType: BrokerResource, ResourceName: "", Name: "min.insync.replicas", Value: new("1")},
		&wire.ConfigRecord{ResourceType: GroupResource, ResourceName: "g", Name: "share.auto.offset.reset", Value: new("")},
		&wire.ProducerIdsRecord{BrokerID: 1, BrokerEpoch: 7, NextProducerID: 3000},
		&wire.ClientQuotaRecord{
			Entity: []wire.ClientQuotaRecordEntityData{{EntityType: "user", EntityName: new("u")}, {EntityType: "client-id"}},
			Key:    "producer_byte_rate", Value: 1.5,
		},
		&wire.AccessControlEntryRecord{ID: id(200), ResourceType: 2, ResourceName: "a", Principal: "User:x", Host: "*"},
		&wire.UserScramCredentialRecord{
			Name: "u", Mechanism: 1, Salt: []byte("salt"), StoredKey: []byte("stored"), ServerKey: []byte("server"), Iterations: 4096,
		},
		&wire.DelegationTokenRecord{Owner: "User:o", Requester: "User:r", Renewers: []string{"User:n"}, TokenID: "tok"},
	}
}

func sameImage(t *testing.T, got, want *Image) {
	t.Helper()
	if diff := cmp.Diff(encode(want), encode(got), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("snapshots differ (-want +got):\n%s", diff)
	}
	if got.Offset() != want.Offset() || got.Epoch() != want.Epoch() || got.PartitionCount() != want.PartitionCount() {
		t.Errorf("offset, epoch, partitions: got %d, %d, %d, want %d, %d, %d", got.Offset(), got.Epoch(),
			got.PartitionCount(), want.Offset(), want.Epoch(), want.PartitionCount())
	}
}

func TestSnapshotKeepsEverything(t *testing.T) {
	img, _ := apply(t, Empty(), everything()...)
	values := encode(img)
	if len(values) != len(everything()) {
		t.Errorf("the snapshot has %d records, want one for each of %d", len(values), len(everything()))
	}
	sameImage(t, decode(t, values, img.Offset(), img.Epoch()), img)
}

func TestSnapshotOfOldVersionDropsWhatItCannotSay(t *testing.T) {
	img, _ := apply(t, Empty(), everything()...)
	img, _ = apply(t, img, &wire.FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: MinimumVersion})
	got := decode(t, encode(img), img.Offset(), img.Epoch())
	a, _ := got.Topic("a")
	if p := a.Partitions[1]; p.ELR != nil || p.LastKnownELR != nil || p.Directory(1) != (wire.UUID{}) {
		t.Errorf("partition has fields of later versions: %+v", p)
	}
	if b := got.Broker(1); len(b.LogDirs) != 0 || b.CordonedLogDirs != nil {
		t.Errorf("broker has fields of later versions: %+v", b)
	}
}

func TestDeltaSaysWhatChanged(t *testing.T) {
	first, d := apply(t, Empty(), everything()...)
	if got := d.Brokers(); !slices.Equal(got, []int32{1, 2}) {
		t.Errorf("brokers changed: %v", got)
	}
	if got := d.Changed(); got != (Changed{true, true, true, true, true, true, true}) {
		t.Errorf("other parts changed: %+v", got)
	}
	next, d := apply(t, first,
		&wire.TopicRecord{Name: "b", TopicID: id(101)}, partition(id(101), 1), partition(id(101), 0),
		&wire.RemoveTopicRecord{TopicID: id(100)},
		&wire.TopicRecord{Name: "a", TopicID: id(102)}, partition(id(102), 0),
		&wire.TopicRecord{Name: "c", TopicID: id(103)}, &wire.RemoveTopicRecord{TopicID: id(103)},
	)
	var got []string
	for _, c := range d.Topics() {
		switch {
		case c.Before == nil:
			got = append(got, fmt.Sprint("+", c.After.Name, c.Partitions))
		case c.After == nil:
			got = append(got, fmt.Sprint("-", c.Before.Name, c.Partitions))
		}
	}
	if want := []string{"+b[0 1]", "-a[]", "+a[0]"}; !slices.Equal(got, want) {
		t.Errorf("topics changed: %v, want %v", got, want)
	}
	if got, want := d.Configs(), []Resource{{TopicResource, "a"}}; !slices.Equal(got, want) {
		t.Errorf("configs changed: %v, want %v: a deleted topic takes its settings along", got, want)
	}
	if a, _ := next.Topic("a"); a.ID != id(102) || next.Config(Resource{TopicResource, "a"}) != nil {
		t.Errorf("the new topic a has id %s and settings %v", a.ID, next.Config(Resource{TopicResource, "a"}))
	}
	if a, _ := first.Topic("a"); a.ID != id(100) || first.TopicCount() != 1 || first.PartitionCount() != 2 {
		t.Error("the image before has changed")
	}
	dotted, _ := apply(t, next, &wire.TopicRecord{Name: "x.y", TopicID: id(110)})
	if other, _ := dotted.Colliding("x_y"); other != "x.y" {
		t.Errorf("x_y collides with %q", other)
	}
	dotted, _ = apply(t, dotted, &wire.RemoveTopicRecord{TopicID: id(110)})
	if other, ok := dotted.Colliding("x_y"); ok {
		t.Errorf("x_y collides with %q, which is gone", other)
	}
	if next.TopicCount() != 2 || next.PartitionCount() != 3 {
		t.Errorf("%d topics, %d partitions, want 2 and 3", next.TopicCount(), next.PartitionCount())
	}
}

func change(set func(*wire.PartitionChangeRecord)) *wire.PartitionChangeRecord {
	c := &wire.PartitionChangeRecord{}
	c.SetDefaults()
	c.TopicID, c.PartitionID = id(100), 1
	set(c)
	return c
}

func TestPartitionChangeTouchesOnlyItsFields(t *testing.T) {
	img, _ := apply(t, Empty(), everything()...)
	before, _ := img.Topic("a")
	img, d := apply(t, img, change(func(c *wire.PartitionChangeRecord) { c.ISR = []int32{2, 1} }))
	after, _ := img.Topic("a")
	want := *before.Partitions[1]
	want.ISR, want.PartitionEpoch = []int32{2, 1}, 10
	if diff := cmp.Diff(&want, after.Partitions[1]); diff != "" {
		t.Errorf("after a change of the ISR (-want +got):\n%s", diff)
	}
	if after.Partitions[0] != before.Partitions[0] || !slices.Equal(d.Topics()[0].Partitions, []int32{1}) {
		t.Error("the other partition changed too")
	}
	img, _ = apply(t, img, change(func(c *wire.PartitionChangeRecord) { c.Leader, c.LeaderRecoveryState = 2, Recovered }))
	after, _ = img.Topic("a")
	want.Leader, want.LeaderEpoch, want.PartitionEpoch, want.RecoveryState = 2, 5, 11, Recovered
	if diff := cmp.Diff(&want, after.Partitions[1]); diff != "" {
		t.Errorf("after an election (-want +got):\n%s", diff)
	}
	img, _ = apply(t, img, &wire.ClearElrRecord{})
	after, _ = img.Topic("a")
	want.ELR, want.LastKnownELR, want.PartitionEpoch = nil, nil, 12
	if diff := cmp.Diff(&want, after.Partitions[1], cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after clearing the eligible leaders (-want +got):\n%s", diff)
	}
}

func TestBrokerRegistrationChanges(t *testing.T) {
	img, _ := apply(t, Empty(), everything()...)
	img, _ = apply(t, img, &wire.BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 7, Fenced: -1})
	if b := img.Broker(1); b.Fenced || !b.Active() {
		t.Errorf("not unfenced: %+v", b)
	}
	img, _ = apply(t, img, &wire.BrokerRegistrationChangeRecord{
		BrokerID: 1, BrokerEpoch: 7, InControlledShutdown: 1,
		CordonedLogDirs: []wire.UUID{},
	})
	if b := img.Broker(1); b.Active() || len(b.CordonedLogDirs) != 0 || len(b.LogDirs) != 1 {
		t.Errorf("shutting down: %+v", b)
	}
	img, _ = apply(t, img, &wire.FenceBrokerRecord{ID: 1, Epoch: 7}, &wire.UnregisterBrokerRecord{BrokerID: 2, BrokerEpoch: 8})
	if !img.Broker(1).Fenced || img.Broker(2) != nil {
		t.Error("broker 1 should be fenced and 2 gone")
	}
}

func TestContradictionsAreErrors(t *testing.T) {
	img, _ := apply(t, Empty(), everything()...)
	for _, c := range []struct {
		rec  wire.MetadataRecord
		want string
	}{
		{&wire.TopicRecord{Name: "a", TopicID: id(300)}, "exists"},
		{&wire.TopicRecord{Name: "z", TopicID: id(100)}, "which topic a has"},
		{partition(id(300), 0), "no topic"},
		{partition(id(100), -1), "cannot have"},
		{partition(id(100), MaxTopicPartitions), "cannot have"},
		{change(func(c *wire.PartitionChangeRecord) { c.PartitionID = 2 }), "no such partition"},
		{&wire.RemoveTopicRecord{TopicID: id(300)}, "no topic"},
		{&wire.ClearElrRecord{TopicName: "z"}, "does not exist"},
		{&wire.UnregisterBrokerRecord{BrokerID: 3}, "no broker 3"},
		{&wire.UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 6}, "epoch"},
		{&wire.BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 7, Fenced: 2}, "mean nothing"},
		{&wire.EndTransactionRecord{}, "no place"},
	} {
		err := img.Edit().Apply(c.rec)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: error %v, want one about %q", c.rec, err, c.want)
		}
	}
	d := img.Edit()
	if err := d.Apply(partition(id(100), 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Finish(1, 1); err == nil || !strings.Contains(err.Error(), "none 2") {
		t.Errorf("a hole in the partitions: error %v", err)
	}
}

func TestTransactionsTakeEffectAtTheirEnd(t *testing.T) {
	r := NewReplay(Empty())
	batch := func(offset int64, records ...wire.MetadataRecord) {
		t.Helper()
		if _, err := r.Batch(records, offset, 1); err != nil {
			t.Fatal(err)
		}
	}
	topic := func(n int) []wire.MetadataRecord {
		return []wire.MetadataRecord{&wire.TopicRecord{Name: fmt.Sprint("t", n), TopicID: id(n)}, partition(id(n), 0)}
	}
	batch(1, append(topic(1), &wire.BeginTransactionRecord{})...)
	batch(3, topic(2)...)
	if r.Image().TopicCount() != 1 || !r.InTransaction() {
		t.Error("an open transaction shows")
	}
	batch(6, append([]wire.MetadataRecord{&wire.EndTransactionRecord{}}, topic(3)...)...)
	if r.Image().TopicCount() != 3 || r.InTransaction() {
		t.Error("an ended transaction does not show")
	}
	batch(10, append(append([]wire.MetadataRecord{&wire.BeginTransactionRecord{}}, topic(4)...), &wire.AbortTransactionRecord{})...)
	if r.Image().TopicCount() != 3 || r.Image().Offset() != 10 {
		t.Error("an aborted transaction shows, or its offset does not")
	}
	for _, bad := range [][]wire.MetadataRecord{
		{&wire.EndTransactionRecord{}},
		{&wire.AbortTransactionRecord{}},
		{&wire.BeginTransactionRecord{}, &wire.BeginTransactionRecord{}},
	} {
		if _, err := NewReplay(Empty()).Batch(bad, 1, 1); err == nil {
			t.Errorf("%T is accepted", bad[len(bad)-1])
		}
	}
}

// draw makes a legal record for the image, or nil.
func draw(t *rapid.T, img *Image, n int) wire.MetadataRecord {
	topics := img.SortedTopics()
	pick := func() *Topic { return topics[rapid.IntRange(0, len(topics)-1).Draw(t, "topic")] }
	kind := rapid.IntRange(0, 6).Draw(t, "kind")
	if kind > 1 && kind < 5 && len(topics) == 0 {
		kind = 0
	}
	switch kind {
	case 0, 1:
		return &wire.TopicRecord{Name: fmt.Sprint("t", n), TopicID: id(n)}
	case 2:
		tp := pick()
		return partition(tp.ID, int32(len(tp.Partitions)))
	case 3:
		if tp := pick(); len(tp.Partitions) > 0 {
			return change(func(c *wire.PartitionChangeRecord) {
				c.TopicID, c.PartitionID, c.Leader = tp.ID, 0, int32(rapid.IntRange(-2, 2).Draw(t, "leader"))
				c.EligibleLeaderReplicas = [][]int32{nil, {}, {1}}[rapid.IntRange(0, 2).Draw(t, "elr")]
			})
		}
		return &wire.NoOpRecord{}
	case 4:
		return &wire.RemoveTopicRecord{TopicID: pick().ID}
	default:
		value := []*string{nil, new("1"), new("2")}[rapid.IntRange(0, 2).Draw(t, "value")]
		return &wire.ConfigRecord{ResourceType: TopicResource, ResourceName: fmt.Sprint("t", n/2), Name: fmt.Sprint("k", n%3), Value: value}
	}
}

func TestLiveReplayedAndSnapshotAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := Empty().Edit()
		if err := d.Apply(&wire.FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: DefaultVersion}); err != nil {
			t.Fatal(err)
		}
		live, _ := d.Finish(0, 1)
		var log [][]byte
		var start *Image
		cut := rapid.IntRange(0, 40).Draw(t, "snapshot at")
		for n := range 40 {
			if n == cut {
				start, log = live, nil
			}
			rec := draw(t, live, n)
			log = append(log, AppendRecord(nil, rec, DefaultVersion))
			d := live.Edit()
			if err := d.Apply(rec); err != nil {
				t.Fatal(err)
			}
			next, err := d.Finish(live.Offset()+1, 1)
			if err != nil {
				t.Fatal(err)
			}
			live = next
		}
		if start == nil {
			start, log = live, nil
		}
		var values [][]byte
		values = append(values, encode(start)...)
		values = append(values, log...)
		again := Empty().Edit()
		for _, v := range values {
			rec, _, err := wire.DecodeMetadataRecord(v)
			if err != nil {
				t.Fatal(err)
			}
			if err := again.Apply(rec); err != nil {
				t.Fatal(err)
			}
		}
		replayed, err := again.Finish(live.Offset(), live.Epoch())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(encode(live), encode(replayed)); diff != "" {
			t.Fatalf("live and replayed differ:\n%s", diff)
		}
	})
}

func TestNamesThatCollideAreAllRemembered(t *testing.T) {
	i, _ := apply(t, Empty(), &wire.TopicRecord{Name: "a.b", TopicID: id(1)}, &wire.TopicRecord{Name: "a_b", TopicID: id(2)})
	for _, step := range []struct {
		remove int
		want   string
	}{{2, "a.b"}, {1, ""}} {
		i, _ = apply(t, i, &wire.RemoveTopicRecord{TopicID: id(step.remove)})
		if got, _ := i.Colliding("a.b"); got != step.want {
			t.Errorf("after topic %d is gone, a.b collides with %q, not %q", step.remove, got, step.want)
		}
	}
}
