package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/record"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// shareGroup is a share group's member that speaks the protocol by hand.
type shareGroup struct {
	*rig
	topic wire.UUID
}

func newShareGroup(t *testing.T) *shareGroup {
	s := &shareGroup{rig: newRig(t)}
	s.topic = s.create("a", 2)
	m := &wire.InitializeShareGroupStateRequest{GroupID: "g", Topics: []wire.InitializeShareGroupStateRequestInitializeStateData{{TopicID: s.topic}}}
	for i := range int32(2) {
		m.Topics[0].Partitions = append(m.Topics[0].Partitions, wire.InitializeShareGroupStateRequestPartitionData{Partition: i, StartOffset: 0})
	}
	find := &wire.FindCoordinatorRequest{}
	find.SetDefaults()
	find.KeyType, find.CoordinatorKeys = 2, []string{"g:" + s.topic.String() + ":0"}
	s.until("the share coordinator", time.Minute, func() bool {
		s.call(find, 6, &wire.FindCoordinatorResponse{})
		resp := &wire.InitializeShareGroupStateResponse{}
		s.call(m, 0, resp)
		for _, p := range resp.Results[0].Partitions {
			if p.ErrorCode != wire.None {
				return false
			}
		}
		return true
	})
	return s
}

// ask is a first or later fetch.
func (s *shareGroup) ask(epoch int32, parts ...int32) *wire.ShareFetchRequest {
	m := &wire.ShareFetchRequest{}
	m.SetDefaults()
	m.GroupID, m.MemberID, m.ShareSessionEpoch = new("g"), new("m"), epoch
	m.MaxWaitMs, m.MinBytes, m.MaxBytes, m.MaxRecords, m.BatchSize = 500, 1, 1<<20, 500, 500
	for _, index := range parts {
		if len(m.Topics) == 0 {
			m.Topics = []wire.ShareFetchRequestFetchTopic{{TopicID: s.topic}}
		}
		m.Topics[0].Partitions = append(m.Topics[0].Partitions, wire.ShareFetchRequestFetchPartition{PartitionIndex: index})
	}
	return m
}

// fetch sends a fetch and tells its answer, with the records counted.
func (s *shareGroup) fetch(m *wire.ShareFetchRequest, version int16) string {
	s.t.Helper()
	resp := &wire.ShareFetchResponse{}
	s.call(m, version, resp)
	var b strings.Builder
	fmt.Fprintf(&b, "error %d lock %d", resp.ErrorCode, resp.AcquisitionLockTimeoutMs)
	for _, t := range resp.Responses {
		for _, p := range t.Partitions {
			fmt.Fprintf(&b, " [%d: error %d ack %d", p.PartitionIndex, p.ErrorCode, p.AcknowledgeErrorCode)
			for _, a := range p.AcquiredRecords {
				fmt.Fprintf(&b, " %d-%d x%d", a.FirstOffset, a.LastOffset, a.DeliveryCount)
			}
			if n := len(p.Records); n > 0 {
				if err := record.Batch(p.Records[:record.Batch(p.Records).Length()]).CheckCRC(); err != nil {
					s.t.Error(err)
				}
				fmt.Fprintf(&b, " in %d bytes", n)
			}
			b.WriteString("]")
		}
	}
	return b.String()
}

func TestShareFetch(t *testing.T) {
	s := newShareGroup(t)
	s.produce("a", 0)
	s.produce("a", 0)
	s.produce("a", 1)
	without := func(change func(m *wire.ShareFetchRequest)) *wire.ShareFetchRequest {
		m := s.ask(0, 0)
		change(m)
		return m
	}
	for _, step := range []struct {
		name    string
		m       *wire.ShareFetchRequest
		version int16
		want    string
	}{
		{"no group", without(func(m *wire.ShareFetchRequest) { m.GroupID = nil }), 2, "error 42 lock 0"},
		{"no member", without(func(m *wire.ShareFetchRequest) { m.MemberID = nil }), 2, "error 42 lock 0"},
		{"an empty member", without(func(m *wire.ShareFetchRequest) { m.MemberID = new("") }), 1, "error 42 lock 0"},
		{"a long member", without(func(m *wire.ShareFetchRequest) { m.MemberID = new(strings.Repeat("m", 37)) }), 1, "error 42 lock 0"},
		{"renewing and fetching", without(func(m *wire.ShareFetchRequest) { m.IsRenewAck = true }), 2, "error 42 lock 0"},
		{"an unknown mode", without(func(m *wire.ShareFetchRequest) { m.ShareAcquireMode = 7 }), 2, "error 42 lock 0"},
		{"no session", s.ask(3, 0), 2, "error 122 lock 0"},
		{"open", s.ask(0, 0, 1), 2, fmt.Sprintf("error 0 lock 30000 [0: error 0 ack 0 0-1 x1 in %d bytes] [1: error 0 ack 0 0-0 x1 in %d bytes]", 2*oneBatch, oneBatch)},
		{"a wrong epoch", s.ask(2), 1, "error 123 lock 0"},
		{"nothing more", s.ask(1), 1, "error 0 lock 30000"},
		{"an unknown topic", func() *wire.ShareFetchRequest {
			m := s.ask(2)
			m.Topics = []wire.ShareFetchRequestFetchTopic{{TopicID: wire.UUID{1}, Partitions: []wire.ShareFetchRequestFetchPartition{{PartitionIndex: 0}}}}
			return m
		}(), 2, "error 0 lock 30000 [0: error 100 ack 0]"},
		{"accepted and released", func() *wire.ShareFetchRequest {
			m := s.ask(3, 0)
			m.ForgottenTopicsData = []wire.ShareFetchRequestForgottenTopic{{TopicID: wire.UUID{1}, Partitions: []int32{0}}}
			m.Topics[0].Partitions[0].AcknowledgementBatches = []wire.ShareFetchRequestAcknowledgementBatch{{FirstOffset: 0, LastOffset: 1, AcknowledgeTypes: []int8{1, 2}}}
			return m
		}(), 2, fmt.Sprintf("error 0 lock 30000 [0: error 0 ack 0 1-1 x2 in %d bytes]", oneBatch)},
	} {
		if got := s.fetch(step.m, step.version); got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.name, got, step.want)
		}
	}
}

// TestShareMembersNames may not be empty, nor longer than a UUID is.
func TestShareMembersNames(t *testing.T) {
	s := newShareGroup(t)
	for _, member := range []string{"", strings.Repeat("m", 37)} {
		resp := &wire.ShareGroupHeartbeatResponse{}
		s.call(&wire.ShareGroupHeartbeatRequest{GroupID: "h", MemberID: member, SubscribedTopicNames: []string{"a"}}, 1, resp)
		if resp.ErrorCode != wire.InvalidRequest || resp.ErrorMessage != nil {
			t.Errorf("member %q: %+v", member, resp)
		}
	}
}

func TestShareAcknowledge(t *testing.T) {
	s := newShareGroup(t)
	s.produce("a", 0)
	s.fetch(s.ask(0, 0), 2)
	for _, step := range []struct {
		name   string
		epoch  int32
		first  int64
		kind   int8
		member string
		want   string
	}{
		{"epoch 0", 0, 0, 1, "m", "error 123 lock 0"},
		{"another member", 1, 0, 1, "n", "error 122 lock 0"},
		{"no member", 1, 0, 1, "", "error 42 lock 0"},
		{"a wrong epoch", 7, 0, 1, "m", "error 123 lock 0"},
		{"an unknown type", 1, 0, 9, "m", "error 0 lock 30000 [0: error 42]"},
		{"behind what was acquired", 2, 5, 1, "m", "error 0 lock 30000 [0: error 42]"},
		{"accept", 3, 0, 1, "m", "error 0 lock 30000 [0: error 0]"},
		{"close", -1, 0, 1, "m", "error 0 lock 30000 [0: error 0]"},
		{"closed", 4, 0, 1, "m", "error 122 lock 0"},
	} {
		m := &wire.ShareAcknowledgeRequest{}
		m.SetDefaults()
		m.GroupID, m.MemberID, m.ShareSessionEpoch = new("g"), new(step.member), step.epoch
		m.Topics = []wire.ShareAcknowledgeRequestAcknowledgeTopic{{TopicID: s.topic, Partitions: []wire.ShareAcknowledgeRequestAcknowledgePartition{{
			AcknowledgementBatches: []wire.ShareAcknowledgeRequestAcknowledgementBatch{{FirstOffset: step.first, LastOffset: step.first, AcknowledgeTypes: []int8{step.kind}}},
		}}}}
		resp := &wire.ShareAcknowledgeResponse{}
		s.call(m, 2, resp)
		got := fmt.Sprintf("error %d lock %d", resp.ErrorCode, resp.AcquisitionLockTimeoutMs)
		for _, topic := range resp.Responses {
			for _, p := range topic.Partitions {
				got += fmt.Sprintf(" [%d: error %d]", p.PartitionIndex, p.ErrorCode)
			}
		}
		if got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.name, got, step.want)
		}
	}
}

// TestShareStateSurvives reads the state anew: what was accepted does not come again, and delivery counts go on.
func TestShareStateSurvives(t *testing.T) {
	s := newShareGroup(t)
	for range 4 {
		s.produce("a", 0)
	}
	if got, want := s.fetch(s.ask(0, 0), 2), fmt.Sprintf("error 0 lock 30000 [0: error 0 ack 0 0-3 x1 in %d bytes]", 4*oneBatch); got != want {
		t.Fatalf("got %s\nwant %s", got, want)
	}
	m := s.ask(1, 0)
	m.MaxRecords = 0
	m.Topics[0].Partitions[0].AcknowledgementBatches = []wire.ShareFetchRequestAcknowledgementBatch{{FirstOffset: 0, LastOffset: 3, AcknowledgeTypes: []int8{1, 2, 3, 2}}}
	if got := s.fetch(m, 2); got != "error 0 lock 30000 [0: error 0 ack 0]" {
		t.Fatal(got)
	}
	s.conn.Close(nil) // the last member goes: what is known of the group in memory goes with it
	s.conn = edge.NewDirect(s.node.Handler(), "PLAINTEXT")
	if got, want := s.fetch(s.ask(0, 0), 2), fmt.Sprintf("error 0 lock 30000 [0: error 0 ack 0 1-1 x2 3-3 x2 in %d bytes]", 3*oneBatch); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
