package share

import (
	"fmt"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	machine "github.com/moldau/moldau/internal/machine/share/partition"
)

func TestDelivery(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 10)
	r.produce(0, 10)
	a := r.fetch("a", 0, 0)
	a.MaxRecords = 5
	r.want("the first batch", a.send(), "[0 0-9 x1 in 1]")
	r.want("the rest goes to another", r.fetch("b", 0, 0).send(), "[0 10-19 x1 in 1]")
	r.want("accepted with the next fetch", func() string {
		f := r.fetch("a", 1).ack(0, 0, 9, machine.Accept)
		f.MaxWaitMs = 0
		return f.send()
	}(), "[0]")
	r.want("written", r.keeper.wrote(), "0: start 0 done 10 0-9:acknowledged:1")
	r.want("released", r.acknowledge("b", 1, 0, 10, 19, machine.Release), "ok")
	r.want("written", r.keeper.wrote(), "0: start 10 done 0 10-19:available:1")
	r.want("again", r.fetch("a", 2).send(), "[0 10-19 x2 in 1]")
	r.want("one by one", r.acknowledge("a", 3, 0, 10, 14, 1, 1, 0, 3, 2), "ok")
	r.want("written", r.keeper.wrote(), "0: start 10 done 4 10-11:acknowledged:2 12-13:archived:2 14-14:available:2")
	r.want("by who does not have it", r.acknowledge("b", 2, 0, 15, 19, machine.Accept), "INVALID_RECORD_STATE")
	r.want("not there", r.acknowledge("b", 3, 0, 25, 29, machine.Accept), "INVALID_REQUEST")
}

func TestSessions(t *testing.T) {
	r := newRig(t, 3)
	r.produce(0, 1)
	r.want("no session", r.fetch("a", 1).send(), "SHARE_SESSION_NOT_FOUND")
	r.want("no session to close", r.fetch("a", -1).send(), "SHARE_SESSION_NOT_FOUND")
	r.want("acknowledging in a first fetch", r.fetch("a", 0).ack(0, 0, 0, 1).send(), "INVALID_REQUEST")
	r.want("open", r.fetch("a", 0, 0, 1).send(), "[0 0-0 x1 in 1] [1]")
	r.want("wrong epoch", r.fetch("a", 5).send(), "INVALID_SHARE_SESSION_EPOCH")
	r.want("acknowledge in epoch 0", r.acknowledge("a", 0, 0, 0, 0), "INVALID_SHARE_SESSION_EPOCH")
	r.want("acknowledge in a wrong epoch", r.acknowledge("a", 2, 0, 0, 0, 1), "INVALID_SHARE_SESSION_EPOCH")
	r.produce(2, 2)
	r.want("a partition more", r.fetch("a", 1, 2).send(), "[2 0-1 x1 in 1]")
	r.produce(2, 2)
	f := r.fetch("a", 2)
	f.Forgotten = []wire.ShareFetchRequestForgottenTopic{{TopicID: r.topic, Partitions: []int32{2}}}
	r.want("forgotten", f.send(), "waits")
	r.advance(time.Second)
	r.want("after its time", f.answer(), "nothing")
	r.want("others", r.fetch("b", 0, 1).send()+r.fetch("c", 0, 1).send(), "waitswaits")
	full := r.fetch("d", 0, 1)
	r.want("too many wait", full.send(), "waits")
	r.advance(time.Second)
	r.want("and are refused", full.answer(), "SHARE_SESSION_LIMIT_REACHED")
	r.want("replaced", r.fetch("a", 0, 0).send(), "waits")
	r.advance(time.Second)
	r.want("its records stay with the member", r.acknowledge("a", 1, 0, 0, 0, 1), "ok")
	r.want("closed", r.acknowledge("a", -1, 0, 0, 0), "ok")
	r.want("and gone", r.fetch("a", 2).send(), "SHARE_SESSION_NOT_FOUND")
}

func TestUnknownPartitions(t *testing.T) {
	r := newRig(t, 1)
	r.want("no such partition", r.fetch("a", 0, 7).send(), "[7 UNKNOWN_TOPIC_OR_PARTITION]")
	f := r.fetch("a", 0, 0)
	f.Topics[0].TopicID = wire.UUID{9}
	r.want("no such topic", f.send(), "[0 UNKNOWN_TOPIC_ID]")
	r.want("acknowledged", r.acknowledge("a", 1, 3, 0, 0, 1), "UNKNOWN_TOPIC_OR_PARTITION")
	r.want("nothing in delivery", r.acknowledge("a", 2, 0, 0, 0, 1), "UNKNOWN_TOPIC_OR_PARTITION")
	r.edit(func(add func(wire.MetadataRecord)) {
		add(&wire.PartitionRecord{TopicID: r.topic, PartitionID: 0, Replicas: []int32{1}, ISR: []int32{1}, Leader: 2, Directories: []wire.UUID{{}}})
	})
	r.d.SetImage(r.img, false)
	r.want("led by another", r.fetch("a", 0, 0).send(), "[0 NOT_LEADER_OR_FOLLOWER]")
}

func TestBadAcknowledgements(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 10)
	r.want("open", r.fetch("a", 0, 0).send(), "[0 0-9 x1 in 1]")
	epoch := int32(0)
	for _, c := range []struct {
		name        string
		first, last int64
		types       []int8
		renewing    bool
		want        wire.Code
	}{
		{"ends before it begins", 5, 4, []int8{1}, false, wire.InvalidRequest},
		{"fewer types than offsets", 0, 4, []int8{1, 1}, false, wire.InvalidRequest},
		{"an unknown type", 0, 4, []int8{5}, false, wire.InvalidRequest},
		{"a negative type", 0, 4, []int8{-1}, false, wire.InvalidRequest},
		{"renewing without saying so", 0, 4, []int8{4}, false, wire.InvalidRequest},
		{"renewing", 0, 4, []int8{4}, true, wire.None},
		{"below zero", -5, -1, []int8{1}, false, wire.InvalidRequest},
		{"part of it is not acquired", 5, 12, []int8{1}, false, wire.InvalidRequest},
		{"twice", 0, 4, []int8{1}, false, wire.None},
		{"the second time", 4, 4, []int8{1}, false, wire.None}, // the start has moved over it
		{"far behind", 100, 200, []int8{1}, false, wire.InvalidRequest},
	} {
		epoch++
		f := r.fetch("a", epoch).ack(0, c.first, c.last, c.types...)
		f.Renewing, f.MaxWaitMs = c.renewing, 0
		f.send()
		if len(f.Results) != 1 || f.Results[0].AckCode != c.want {
			t.Errorf("%s: %+v, want %v", c.name, f.Results, c.want)
		}
	}
	epoch++
	f := r.fetch("a", epoch).ack(0, 7, 9, 1).ack(0, 5, 6, 1)
	f.MaxWaitMs = 0
	r.want("out of order", f.send(), "[0 ack INVALID_REQUEST]")
	f = r.fetch("a", epoch+1).ack(0, 5, 7, 1).ack(0, 7, 9, 1)
	f.MaxWaitMs = 0
	r.want("overlapping", f.send(), "[0 ack INVALID_RECORD_STATE]")
	r.want("none of it counts", r.acknowledge("a", epoch+2, 0, 5, 9, 1), "ok")
}

func TestWaiting(t *testing.T) {
	r := newRig(t, 2)
	a, b := r.fetch("a", 0, 0, 1), r.fetch("b", 0, 0, 1)
	r.want("nothing there", a.send()+" "+b.send(), "waits waits")
	r.produce(1, 3)
	r.want("the first in line", a.answer()+" "+b.answer(), "[0] [1 0-2 x1 in 1] waits")
	r.produce(0, 2)
	r.want("the second", b.answer(), "[0 0-1 x1 in 1] [1]")

	c := r.fetch("c", 0, 0, 1)
	r.want("all is taken", c.send(), "waits")
	r.want("released by another", r.acknowledge("a", 1, 1, 0, 1, machine.Release), "ok")
	r.want("it gets that", c.answer(), "[0] [1 0-1 x2 in 1]")

	d := r.fetch("c", 1)
	r.want("waits", d.send(), "waits")
	r.advance(499 * time.Millisecond)
	r.want("not yet", d.answer(), "waits")
	r.advance(time.Millisecond)
	r.want("time is over", d.answer(), "nothing")

	e := r.fetch("c", 2)
	e.MaxWaitMs = 60_000
	r.want("waits for locks", e.send(), "waits")
	r.advance(31 * time.Second)
	r.want("the first that ends", e.answer(), "[1 0-1 x3 2-2 x2 in 1]")
	r.want("the others'", r.fetch("b", 1).send(), "[0 0-1 x2 in 1]")

	f := r.fetch("b", 2)
	r.want("a client that leaves", f.send(), "waits")
	f.cancel()
	r.run()
	r.produce(0, 1)
	r.want("gets nothing", f.answer(), "nothing")
	r.want("another does", r.fetch("a", 2).send(), "[0 2-2 x1 in 1]")
}

func TestMinBytes(t *testing.T) {
	r := newRig(t, 2)
	f := r.fetch("a", 0, 0, 1)
	f.MinBytes = 300
	r.produce(0, 1)
	r.want("too little", f.send(), "waits")
	r.produce(1, 1)
	r.want("still", f.answer(), "waits")
	r.produce(0, 20)
	r.want("enough", f.answer(), "[0 0-20 x1 in 2] [1 0-0 x1 in 1]")
	r.produce(0, 1)
	g := r.fetch("a", 1)
	g.MinBytes = 300
	r.want("too little", g.send(), "waits")
	r.advance(time.Second)
	r.want("time is over", g.answer(), "[0 21-21 x1 in 1]")
}

func TestInFlightLimit(t *testing.T) {
	r := newRig(t, 1)
	r.settings.MaxInFlight = 10
	for range 4 {
		r.produce(0, 5)
	}
	r.want("as many as may be", r.fetch("a", 0, 0).send(), "[0 0-9 x1 in 2]")
	f := r.fetch("a", 1)
	r.want("no more", f.send(), "waits")
	b := r.fetch("b", 0, 0)
	r.want("for nobody", b.send(), "waits")
	r.want("half is done with", r.acknowledge("a", 2, 0, 0, 4, machine.Accept), "ok")
	r.want("so there is room", f.answer()+" "+b.answer(), "[0 10-14 x1 in 1] waits")
}

func TestPersistFailures(t *testing.T) {
	r := newRig(t, 1)
	r.keeper.readFail = []wire.Code{wire.CoordinatorLoadInProgress, wire.NotCoordinator}
	r.produce(0, 10)
	f := r.fetch("a", 0, 0)
	f.MaxWaitMs = 5000
	r.want("while it loads", f.send(), "waits")
	r.advance(time.Second)
	r.want("then", f.answer(), "[0 0-9 x1 in 1]")

	r.keeper.fail = []wire.Code{wire.UnknownServerError}
	r.want("a write that fails", r.acknowledge("a", 1, 0, 0, 9, machine.Accept), "UNKNOWN_SERVER_ERROR")
	r.want("is taken back", r.acknowledge("a", 2, 0, 0, 4, machine.Accept), "ok")
	r.keeper.fail = []wire.Code{wire.CoordinatorLoadInProgress}
	r.keeper.wrote()
	r.want("one that time heals", r.acknowledge("a", 3, 0, 5, 6, machine.Accept), "waits")
	r.advance(time.Second)
	r.want("is sent again", r.keeper.wrote(), "0: start 5 done 2 5-6:acknowledged:1; 0: start 5 done 2 5-6:acknowledged:1")

	r.keeper.epochs[keeperKey("g", r.topic, 0)] = 3
	r.want("the state is another's", r.acknowledge("a", 4, 0, 7, 9, machine.Accept), "NOT_LEADER_OR_FOLLOWER")
	r.want("it is read anew", r.fetch("a", 5).send(), "[0 7-9 x1 in 1]")

	r2 := newRig(t, 1)
	r2.keeper.readFail = []wire.Code{wire.GroupIDNotFound}
	r2.want("it cannot be read", r2.fetch("a", 0, 0).send(), "[0 GROUP_ID_NOT_FOUND]")
	r2.produce(0, 1)
	r2.want("the next fetch tries again", r2.fetch("a", 1).send(), "[0 0-0 x1 in 1]")

	r3 := newRig(t, 2)
	r3.keeper.hold, r3.keeper.readFail = true, []wire.Code{wire.GroupIDNotFound}
	g := r3.fetch("a", 0, 0, 1)
	r3.want("while both load", g.send(), "waits")
	r3.keeper.let()
	r3.run()
	r3.want("one cannot, the other has nothing", g.answer(), "waits")
	r3.advance(time.Second)
	r3.want("after its time", g.answer(), "[0 GROUP_ID_NOT_FOUND] [1]")
}

func TestWritesInOrder(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 10)
	r.want("open", r.fetch("a", 0, 0).send(), "[0 0-9 x1 in 1]")
	r.keeper.hold = true
	r.want("the first is on its way", r.acknowledge("a", 1, 0, 0, 1, machine.Accept), "waits")
	r.want("others wait", r.acknowledge("a", 2, 0, 2, 3, machine.Accept)+r.acknowledge("a", 3, 0, 4, 5, machine.Release), "waitswaits")
	r.want("nobody gets what is not settled", r.fetch("b", 0, 0).send(), "waits")
	r.want("one write", r.keeper.wrote(), "0: start 0 done 2 0-1:acknowledged:1")
	r.keeper.let()
	r.run()
	r.want("all others in the next", r.keeper.wrote(), "0: start 2 done 2 2-3:acknowledged:1 4-5:available:1")
	r.keeper.let()
	r.run()
	r.want("released", r.fetch("c", 0, 0).send(), "waits") // b was before
}

func TestMembersThatVanish(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 10)
	r.want("open", r.fetch("a", 0, 0).send(), "[0 0-9 x1 in 1]")
	b := r.fetch("b", 0, 0)
	b.MaxWaitMs = 5000
	r.want("another waits", b.send(), "waits")
	r.conns["a"].Close(nil)
	r.run()
	r.want("the connection is lost", b.answer(), "[0 0-9 x2 in 1]")
	r.want("with it the session", r.fetch("a", 1).send(), "SHARE_SESSION_NOT_FOUND")
	r.want("closes in good order", r.fetch("b", -1).ack(0, 0, 4, 1).send(), "[0]")
	r.want("what was not accepted is released", r.keeper.wrote(), "0: start 0 done 0 0-9:available:1; 0: start 0 done 5 0-4:acknowledged:2; 0: start 5 done 0 5-9:available:2")
	if n := len(r.d.groups) + len(r.d.sessions); n != 0 {
		t.Errorf("%d groups and sessions are left", n)
	}
	r.want("who comes next", r.fetch("c", 0, 0).send(), "[0 5-9 x3 in 1]")
}

func TestResets(t *testing.T) {
	for _, c := range []struct {
		name  string
		reset Reset
		ms    int64
		want  string
	}{
		{"earliest", ResetEarliest, 0, "[0 0-4 x1 in 2]"},
		{"latest", ResetLatest, 0, "waits"},
		{"as young as that", ResetByDuration, 1, "waits"},
		{"by duration", ResetByDuration, 1 << 50, "[0 0-4 x1 in 2]"},
	} {
		r := newRig(t, 1)
		r.settings.Reset, r.settings.ResetMs = c.reset, c.ms
		r.produce(0, 3)
		r.produce(0, 2)
		f := r.fetch("a", 0, 0)
		r.want(c.name, f.send(), c.want)
		r.produce(0, 1)
		if c.want == "waits" {
			r.want(c.name+" gets what is new", f.answer(), "[0 5-5 x1 in 1]")
		}
	}
}

func TestDeletedRecords(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 5)
	r.produce(0, 5)
	r.want("open", r.fetch("a", 0, 0).send(), "[0 0-9 x1 in 2]")
	r.want("release", r.acknowledge("a", 1, 0, 0, 9, machine.Release), "ok")
	if err := r.table.ByID(r.topic).Partition(0).Log().DeleteRecords(7); err != nil {
		t.Fatal(err)
	}
	r.want("the log has less", r.fetch("a", 2).send(), "[0 7-9 x2 in 1]")
	d := r.edit(func(add func(wire.MetadataRecord)) { add(&wire.RemoveTopicRecord{TopicID: r.topic}) })
	w := r.fetch("a", 3)
	r.want("waits", w.send(), "waits")
	r.d.SetImage(r.img, false)
	r.table.Apply(r.img, d)
	r.d.DeleteTopic(r.topic)
	r.run()
	r.want("the topic is gone", w.answer(), "[0 UNKNOWN_TOPIC_OR_PARTITION]")
}

func TestReadCommitted(t *testing.T) {
	r := newRig(t, 1)
	r.settings.Committed = true
	sequence := int32(0)
	begin := func() {
		w := record.NewBuilder(nil, record.Options{BaseOffset: r.end(), Transactional: true, Idempotent: true, ProducerID: 7, BaseSequence: sequence})
		w.Append(1, nil, []byte("value"))
		w.Append(2, nil, []byte("value"))
		sequence += 2
		b, err := w.Finish()
		r.add(0, b, err, commitlog.Replica)
	}
	end := func(commit bool) {
		b, err := record.AppendEndTxnMarker(nil, &record.EndTxnMarker{ProducerID: 7, Commit: commit, Timestamp: 3})
		b.SetBaseOffset(r.end())
		r.add(0, b, err, commitlog.Replica)
	}
	begin() // 0-1
	f := r.fetch("a", 0, 0)
	r.want("open transactions are not seen", f.send(), "waits")
	end(false) // 2
	r.want("the marker of the aborted one is", f.answer(), "[0 2-2 x1 in 1]")
	begin()   // 3-4
	end(true) // 5
	begin()   // 6-7
	end(false)
	r.produce(0, 2) // 9-10
	r.want("what was aborted is not", r.fetch("a", 1).ack(0, 2, 2, machine.Gap).send(), "[0 3-5 x1 8-10 x1 in 5]")
	r.settings.Committed = false
	r.d.SetImage(r.img, true)
	r.want("acknowledged", r.acknowledge("a", 2, 0, 3, 5, machine.Accept), "ok")
	r.keeper.wrote()
	r.want("acknowledged", r.acknowledge("a", 3, 0, 8, 10, machine.Accept), "ok")
	r.want("the start moves over it", r.keeper.wrote(), "0: start 8 done 3 8-10:acknowledged:1")
}

func TestRecordLimit(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 10)
	a := r.fetch("a", 0, 0)
	a.Mode, a.MaxRecords = machine.RecordLimit, 4
	r.want("four", a.send(), "[0 0-3 x1 in 1]")
	b := r.fetch("b", 0, 0)
	r.want("the others", b.send(), "[0 4-9 x1 in 1]")
}

func TestSettingsChange(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 2)
	r.want("open", r.fetch("a", 0, 0).send(), "[0 0-1 x1 in 1]")
	r.settings.MaxDeliveries, r.settings.LockMs = 1, 1000
	r.d.SetImage(r.img, true)
	r.want("given up", r.acknowledge("a", 1, 0, 0, 1, machine.Release), "ok")
	r.want("at once", r.keeper.wrote(), "0: start 0 done 2 0-1:archived:1")
	if ms := r.d.LockMs("g"); ms != 1000 {
		t.Errorf("locks last %d ms", ms)
	}
}

// TestFetchesOfNothing have no room for records: what cannot be served is named, what can be is not.
func TestFetchesOfNothing(t *testing.T) {
	r := newRig(t, 1)
	r.produce(0, 10)
	r.want("no records", func() string { f := r.fetch("a", 0, 0, 7); f.MaxRecords = 0; return f.send() }(), "[7 UNKNOWN_TOPIC_OR_PARTITION]")
	r.want("no bytes", func() string { f := r.fetch("a", 1, 0); f.MaxBytes = 0; return f.send() }(), "[7 UNKNOWN_TOPIC_OR_PARTITION]")
	f := r.fetch("b", 0, 0)
	f.MaxRecords, f.MaxWaitMs = -1, 0
	r.want("less than none", f.send(), "[0]")
	r.want("still there for others", r.fetch("c", 0, 0).send(), "[0 0-9 x1 in 1]")
}

// TestEmptyAcknowledgements are answered only beside others that say something.
func TestEmptyAcknowledgements(t *testing.T) {
	r := newRig(t, 2)
	r.produce(0, 2)
	r.want("open", r.fetch("a", 0, 0).send(), "[0 0-1 x1 in 1]")
	for i, c := range []struct {
		name  string
		parts []wire.ShareAcknowledgeRequestAcknowledgePartition
		want  string
	}{
		{"nothing", []wire.ShareAcknowledgeRequestAcknowledgePartition{{PartitionIndex: 0}}, ""},
		{"nothing for what there is not", []wire.ShareAcknowledgeRequestAcknowledgePartition{{PartitionIndex: 0}, {PartitionIndex: 7}}, "7 UNKNOWN_TOPIC_OR_PARTITION;"},
		{"nothing beside something", []wire.ShareAcknowledgeRequestAcknowledgePartition{
			{PartitionIndex: 0, AcknowledgementBatches: []wire.ShareAcknowledgeRequestAcknowledgementBatch{{LastOffset: 1, AcknowledgeTypes: []int8{1}}}}, {PartitionIndex: 1},
		}, "0 NONE;1 NONE;"},
	} {
		r.want(c.name, r.acknowledgeAll("a", int32(i+1), c.parts), c.want)
	}
}

// acknowledgeAll sends a ShareAcknowledge about some partitions and tells all that is answered.
func (r *rig) acknowledgeAll(member string, epoch int32, parts []wire.ShareAcknowledgeRequestAcknowledgePartition) string {
	a := &Acknowledge{Group: "g", Member: member, Epoch: epoch, Supports: machine.Renew}
	a.Topics = []wire.ShareAcknowledgeRequestAcknowledgeTopic{{TopicID: r.topic, Partitions: parts}}
	text := "waits"
	a.Done = func(a *Acknowledge) {
		text = ""
		for i := range a.Results {
			text += fmt.Sprintf("%d %s;", a.Results[i].Index, name(a.Results[i].Code))
		}
	}
	r.d.Acknowledge(a)
	r.run()
	return text
}
