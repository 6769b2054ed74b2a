package group

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

// fleet is a group of well-behaved members of the consumer protocol.
type fleet struct {
	d     *driver
	ids   []string
	epoch []int32
	owned []*wire.ConsumerGroupHeartbeatResponseAssignment
	told  []bool // what it owns has changed since its last heartbeat
	calls int
}

func newFleet(members, partitions int) *fleet {
	d := newDriver()
	d.setTopic("t", int32(partitions))
	f := &fleet{d: d, epoch: make([]int32, members), owned: make([]*wire.ConsumerGroupHeartbeatResponseAssignment, members), told: make([]bool, members)}
	for i := range members {
		f.ids = append(f.ids, fmt.Sprintf("m%04d", i))
	}
	return f
}

// beat is one heartbeat of one member, which gives up at once what it is told to.
func (f *fleet) beat(i int) {
	req := &wire.ConsumerGroupHeartbeatRequest{GroupID: "g", MemberID: f.ids[i], MemberEpoch: f.epoch[i], RebalanceTimeoutMs: -1}
	if f.epoch[i] <= 0 {
		req.RebalanceTimeoutMs, req.SubscribedTopicNames = 60_000, []string{"t"}
		req.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
	} else if f.told[i] {
		req.TopicPartitions = []wire.ConsumerGroupHeartbeatRequestTopicPartitions{}
		for _, tp := range f.owned[i].TopicPartitions {
			req.TopicPartitions = append(req.TopicPartitions, wire.ConsumerGroupHeartbeatRequestTopicPartitions(tp))
		}
	}
	f.calls++
	f.told[i] = false
	r := f.d.machine.Consumers.Heartbeat(f.d.now, &ConsumerHeartbeat{Request: req, Version: 1, Client: Client{ID: "c", Host: "/h"}}, &f.d.fx)
	if r.ErrorCode != wire.None {
		panic(*r.ErrorMessage)
	}
	f.epoch[i] = r.MemberEpoch
	if r.Assignment != nil {
		f.owned[i], f.told[i] = r.Assignment, true
	}
	f.d.fx.Reset()
}

// settle lets all members report, a round each 100 ms, until the group is stable.
func (f *fleet) settle() (rounds int) {
	for {
		for i := range f.ids {
			if f.epoch[i] >= 0 {
				f.beat(i)
			}
		}
		rounds++
		f.d.now.Mono += 100
		f.d.now.Wall += 100
		if f.d.machine.Consumers.State("g") == "Stable" {
			return rounds
		}
	}
}

// TestThousandMembersSettle is a group of a thousand members over a thousand partitions: its birth, one that joins and
// one that leaves take a few rounds of heartbeats.
func TestThousandMembersSettle(t *testing.T) {
	f := newFleet(1000, 1000)
	if n := f.settle(); n > 6 {
		t.Errorf("birth took %d rounds", n)
	}
	f.ids, f.epoch, f.owned, f.told = append(f.ids, "new"), append(f.epoch, 0), append(f.owned, nil), append(f.told, false)
	if n := f.settle(); n > 5 {
		t.Errorf("a join took %d rounds", n)
	}
	f.epoch[3] = -1
	f.beat(3)
	f.d.now.Wall += 1000
	if n := f.settle(); n > 3 {
		t.Errorf("a leave took %d rounds", n)
	}
	if text := f.d.checkOwners(); text != "" {
		t.Error(text)
	}
}

func BenchmarkConsumerBirth(b *testing.B) {
	for b.Loop() {
		newFleet(1000, 1000).settle()
	}
}

func BenchmarkConsumerJoin(b *testing.B) {
	f := newFleet(1000, 1000)
	f.settle()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		f.ids, f.epoch, f.owned, f.told = append(f.ids, fmt.Sprint("new", i)), append(f.epoch, 0), append(f.owned, nil), append(f.told, false)
		f.d.now.Wall += 1000
		f.settle()
	}
}

func BenchmarkConsumerHeartbeat(b *testing.B) {
	f := newFleet(1000, 1000)
	f.settle()
	f.settle()
	h := &ConsumerHeartbeat{Version: 1, Client: Client{ID: "c", Host: "/h"}, Request: &wire.ConsumerGroupHeartbeatRequest{
		GroupID: "g", MemberID: "m0007", MemberEpoch: f.epoch[7], RebalanceTimeoutMs: -1,
	}}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		f.d.machine.Consumers.Heartbeat(f.d.now, h, &f.d.fx)
	}
}

// TestHugeSubscriptions are refused, or cost what they are large, also when many members have them.
func TestHugeSubscriptions(t *testing.T) {
	d := newDriver()
	d.setTopic("t", 3)
	names := make([]string, 5_000)
	for i := range names {
		names[i] = fmt.Sprintf("topic-%05d", i)
	}
	join := func(id string, names []string, regex *string) *wire.ConsumerGroupHeartbeatResponse {
		return d.machine.Consumers.Heartbeat(d.now, &ConsumerHeartbeat{Version: 1, Request: &wire.ConsumerGroupHeartbeatRequest{
			GroupID: "g", MemberID: id, RebalanceTimeoutMs: 1000, SubscribedTopicNames: names, SubscribedTopicRegex: regex,
			TopicPartitions: []wire.ConsumerGroupHeartbeatRequestTopicPartitions{},
		}}, &d.fx)
	}
	for i := range 200 {
		if r := join(fmt.Sprint("m", i), names, nil); r.ErrorCode != wire.None {
			t.Fatal(*r.ErrorMessage)
		}
		d.fx.Reset()
	}
	if n := len(d.machine.Consumers.groups["g"].subs); n != 1 {
		t.Fatalf("%d copies of one subscription", n)
	}
	long := strings.Repeat("x", subscriptionLimit)
	if r := join("z", []string{long}, nil); r.ErrorCode != wire.InvalidRequest {
		t.Fatal(r.ErrorCode)
	}
	hostile := "((a{0,500}){0,500}){0,500}"
	if r := join("z", nil, &hostile); r.ErrorCode != wire.InvalidRegularExpression {
		t.Fatal(r.ErrorCode, r.ErrorMessage)
	}
	d.now.Wall += 1000
	evil := "(t|t)*(t|t)*(t|t)*(t|t)*$"
	if r := join("z", nil, &evil); r.ErrorCode != wire.None || len(r.Assignment.TopicPartitions) != 1 {
		t.Fatal(r.ErrorCode, r.Assignment)
	}
}

// TestTenThousandConsumerGroups come and go, and leave nothing behind.
func TestTenThousandConsumerGroups(t *testing.T) {
	d := newDriver()
	d.setTopic("t", 3)
	for i := range 10_000 {
		g := fmt.Sprint("g", i)
		d.consumeLine(args{"g": g, "member": "m", "names": "t"})
		d.machine.Remember(d.now, d.fx.Events)
		d.fx.Reset()
		d.consumeLine(args{"g": g, "member": "m", "epoch": "-1"})
		d.fx.Reset()
	}
	if n := len(d.machine.Consumers.IDs()); n != 10_000 {
		t.Fatal(n)
	}
	d.advance(700_000)
	c := d.machine.Consumers
	if len(c.groups) != 0 || len(c.readers) != 0 || len(c.hashes) != 0 || c.members != 0 || len(d.machine.groups) != 0 {
		t.Fatal(len(c.groups), len(c.readers), len(c.hashes), c.members, len(d.machine.groups))
	}
}

// BenchmarkClassicBirth is a classic group of a thousand members: joins in two steps, one generation, its assignment.
func BenchmarkClassicBirth(b *testing.B) {
	const n = 1000
	for b.Loop() {
		d := newDriver()
		d.config.InitialRebalanceDelayMs, d.config.InitialQuietMs = 3000, 100
		d.machine = New(d.config)
		d.machine.Loaded(d.now, &d.fx)
		req := &wire.JoinGroupRequest{GroupID: "g", ProtocolType: "consumer", SessionTimeoutMs: 10_000, RebalanceTimeoutMs: 60_000,
			Protocols: []wire.JoinGroupRequestProtocol{{Name: "range", Metadata: subscription("topics0/t")}}}
		join := func(id string) *wire.JoinGroupResponse {
			req.MemberID = id
			d.machine.JoinGroup(d.now, &Join{Request: req, Version: 9, Client: Client{ID: "c", Host: "/h"}, Ticket: d.park(""), Fresh: d.uuid()}, &d.fx)
			defer d.fx.Reset()
			if len(d.fx.Joins) > 0 {
				return d.fx.Joins[0].Response
			}
			return nil
		}
		var ids []string
		for range n {
			id := join("").MemberID
			ids = append(ids, id)
			join(id)
		}
		d.now.Mono += 200
		d.machine.Expire(d.now, &d.fx)
		if len(d.fx.Joins) != n {
			b.Fatal(len(d.fx.Joins))
		}
		d.fx.Reset()
		sync := &wire.SyncGroupRequest{GroupID: "g", GenerationID: 1}
		for _, id := range ids {
			sync.MemberID, sync.Assignments = id, nil
			if id == ids[0] {
				for _, to := range ids {
					sync.Assignments = append(sync.Assignments, wire.SyncGroupRequestAssignment{MemberID: to, Assignment: assignmentBytes("@t/1")})
				}
			}
			d.machine.SyncGroup(d.now, sync, d.park(""), &d.fx)
		}
		d.fx.Reset()
		d.machine.Settle(d.now, d.machine.lastWrite-1, 0, wire.None, &d.fx)
		d.machine.Settle(d.now, d.machine.lastWrite, 1, wire.None, &d.fx)
		if len(d.fx.Syncs) != n || d.machine.groups["g"].state != stateStable {
			b.Fatal(len(d.fx.Syncs))
		}
	}
}
