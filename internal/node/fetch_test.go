package node_test

import (
	"errors"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// at is one partition of a fetch.
func at(index int32, offset int64) wire.FetchRequestFetchPartition {
	p := wire.FetchRequestFetchPartition{}
	p.SetDefaults()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, offset, 1<<20
	return p
}

func fetchRequest(id wire.UUID, parts ...wire.FetchRequestFetchPartition) *wire.FetchRequest {
	m := &wire.FetchRequest{}
	m.SetDefaults()
	m.MaxBytes = 1 << 20
	if len(parts) > 0 {
		m.Topics = []wire.FetchRequestFetchTopic{{Topic: "a", TopicID: id, Partitions: parts}}
	}
	return m
}

// oneBatch is the size of the batches that rig.produce appends.
var oneBatch = len(batch(noProducer, "hello"))

func TestFetchSession(t *testing.T) {
	r := newRig(t)
	id := r.create("a", 3)
	r.produce("a", 0)
	r.produce("a", 1)
	session := int32(0)
	data := " error 0 hw 1 bytes 73]"
	for _, step := range []struct {
		name    string
		version int16
		session int32 // -1: the one that was opened
		epoch   int32
		parts   []wire.FetchRequestFetchPartition
		forget  []int32
		want    string
	}{
		{"an unknown session", 13, 4711, 3, nil, nil, "error 70 session false"},
		{"open", 13, 0, 0, []wire.FetchRequestFetchPartition{at(0, 0), at(1, 0)}, nil, "error 0 session true [0:" + data + " [1:" + data},
		{"the same again", 13, -1, 1, nil, nil, "error 0 session true [0:" + data + " [1:" + data},
		{"one has read on", 13, -1, 2, []wire.FetchRequestFetchPartition{at(0, 1)}, nil, "error 0 session true [1:" + data},
		{"an epoch twice", 13, -1, 2, nil, nil, "error 71 session false"},
		{"by name in a session by id", 12, -1, 3, nil, nil, "error 106 session false"},
		{"a partition that is not there", 13, -1, 3, []wire.FetchRequestFetchPartition{at(7, 0)}, nil, "error 0 session true [1:" + data + " [7: error 3 hw -1 bytes 0]"},
		{"errors are told each time", 13, -1, 4, nil, nil, "error 0 session true [7: error 3 hw -1 bytes 0] [1:" + data},
		{"forget", 13, -1, 5, nil, []int32{7}, "error 0 session true [1:" + data},
		{"forgetting comes last", 13, -1, 6, []wire.FetchRequestFetchPartition{at(0, 0)}, []int32{0}, "error 0 session true [1:" + data},
		{"forget all ends the session", 13, -1, 7, nil, []int32{1}, "error 0 session false"},
		{"it is gone", 13, -1, 8, nil, nil, "error 70 session false"},
	} {
		m := fetchRequest(id, step.parts...)
		m.SessionID, m.SessionEpoch = step.session, step.epoch
		if step.session == -1 {
			m.SessionID = session
		}
		if step.forget != nil {
			m.ForgottenTopicsData = []wire.FetchRequestForgottenTopic{{Topic: "a", TopicID: id, Partitions: step.forget}}
		}
		resp := &wire.FetchResponse{}
		r.call(m, step.version, resp)
		if got := brief(resp); got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.name, got, step.want)
		}
		if step.name == "open" {
			session = resp.SessionID
		}
	}
}

func TestFetchParts(t *testing.T) {
	r := newRig(t)
	id := r.create("a", 2)
	r.produce("a", 0)
	epoch := func(p wire.FetchRequestFetchPartition, current, last int32) wire.FetchRequestFetchPartition {
		p.CurrentLeaderEpoch, p.LastFetchedEpoch = current, last
		return p
	}
	for _, c := range []struct {
		name    string
		version int16
		id      wire.UUID
		part    wire.FetchRequestFetchPartition
		want    wire.Code
		bytes   int
	}{
		{"data by name", 4, id, at(0, 0), wire.None, oneBatch},
		{"data by id", 13, id, at(0, 0), wire.None, oneBatch},
		{"the end", 12, id, at(0, 1), wire.None, 0},
		{"behind the end", 12, id, at(0, 2), wire.OffsetOutOfRange, 0},
		{"a negative offset", 12, id, at(0, -1), wire.OffsetOutOfRange, 0},
		{"an epoch to come", 12, id, epoch(at(0, 0), 5, -1), wire.UnknownLeaderEpoch, 0},
		{"last fetched in this epoch", 12, id, epoch(at(0, 0), -1, 0), wire.None, oneBatch},
		{"last fetched in an epoch that nobody knows", 12, id, epoch(at(0, 1), -1, 5), wire.OffsetOutOfRange, 0},
		{"an unknown id", 13, wire.UUID{1}, at(0, 0), wire.UnknownTopicID, 0},
		{"an unknown partition", 13, id, at(9, 0), wire.UnknownTopicOrPartition, 0},
	} {
		resp := &wire.FetchResponse{}
		r.call(fetchRequest(c.id, c.part), c.version, resp)
		p := resp.Responses[0].Partitions[0]
		missing := c.want == wire.UnknownTopicID || c.want == wire.UnknownTopicOrPartition // for these it is empty, in Kafka too
		if p.ErrorCode != c.want || len(p.Records) != c.bytes || (p.AbortedTransactions != nil) != missing {
			t.Errorf("%s: %v, %d bytes, aborted %v; want %v, %d bytes", c.name, p.ErrorCode, len(p.Records), p.AbortedTransactions, c.want, c.bytes)
		}
	}
}

func TestFetchCommitted(t *testing.T) {
	r := newRig(t)
	id := r.create("a", 1)
	r.produce("a", 0)
	m := fetchRequest(id, at(0, 0))
	m.IsolationLevel = 1
	resp := &wire.FetchResponse{}
	r.call(m, 12, resp)
	if p := resp.Responses[0].Partitions[0]; len(p.Records) != oneBatch || p.AbortedTransactions == nil || len(p.AbortedTransactions) != 0 {
		t.Errorf("%d bytes, aborted %v", len(p.Records), p.AbortedTransactions)
	}
}

// A fetch waits for as many bytes as it asked for, not for any.
func TestFetchWaits(t *testing.T) {
	for _, c := range []struct {
		name               string
		minBytes, maxBytes int32
		waits              bool // with one batch there and one to come
		after              bool // with two batches there
	}{
		{"one byte", 1, 1 << 20, false, false},
		{"what is there", int32(oneBatch), 1 << 20, false, false},
		{"more than is there", int32(oneBatch) + 1, 1 << 20, true, false},
		{"more than will come", 1 << 19, 1 << 20, true, true},
		{"more than it wants to have", 1 << 19, 10, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			id := r.create("a", 1)
			r.produce("a", 0)
			writer := *r // on a connection of its own
			writer.conn = newConn(r)
			m := fetchRequest(id, at(0, 0))
			m.MinBytes, m.MaxBytes, m.MaxWaitMs = c.minBytes, c.maxBytes, 30_000
			resp := &wire.FetchResponse{}
			p := r.send(m, 12, resp)
			for r.hand.RunOne() {
			}
			if p.answered == c.waits {
				t.Fatalf("answered %v with one batch", p.answered)
			}
			begin := r.hand.Mono()
			writer.produce("a", 0)
			for r.hand.RunOne() {
			}
			if p.answered == c.after {
				t.Fatalf("answered %v with two batches", p.answered)
			}
			r.until("the answer", time.Minute, func() bool { return p.answered })
			if waited := r.hand.Mono() - begin; c.after && waited < 29*time.Second {
				t.Errorf("answered after %v", waited)
			}
			if p.err != nil || len(resp.Responses[0].Partitions[0].Records) == 0 {
				t.Errorf("%v %s", p.err, brief(resp))
			}
		})
	}
}

// A parked fetch is answered when its topic is deleted, and let go when its client hangs up.
func TestFetchEnds(t *testing.T) {
	r := newRig(t)
	id := r.create("a", 1)
	admin := *r
	admin.conn = newConn(r)
	m := fetchRequest(id, at(0, 0))
	m.MinBytes, m.MaxWaitMs = 1, 1<<30
	resp := &wire.FetchResponse{}
	p := r.send(m, 13, resp)
	gone := *r
	gone.conn = newConn(r)
	q := gone.send(m, 13, &wire.FetchResponse{})
	gone.conn.Close(nil)
	if !q.answered || q.err == nil {
		t.Error("a lost connection's fetch must end")
	}
	del := &wire.DeleteTopicsRequest{Topics: []wire.DeleteTopicsRequestDeleteTopicState{{TopicID: id}}}
	admin.call(del, 6, &wire.DeleteTopicsResponse{})
	r.until("the answer", time.Second, func() bool { return p.answered })
	if got := errors.Join(p.err); got != nil || resp.Responses[0].Partitions[0].ErrorCode != wire.UnknownTopicID {
		t.Errorf("%v %s", got, brief(resp))
	}
}

// TestFetchMaxBytes: fetch.max.bytes bounds an answer, whatever the client asks for.
func TestFetchMaxBytes(t *testing.T) {
	r := newRig(t, "fetch.max.bytes", "1024")
	id := r.create("a", 2)
	for range 20 {
		r.produce("a", 0)
		r.produce("a", 1)
	}
	resp := &wire.FetchResponse{}
	m := fetchRequest(id, at(0, 0), at(1, 0))
	m.SessionEpoch = -1
	r.call(m, 13, resp)
	sent := 0
	for _, p := range resp.Responses[0].Partitions {
		sent += len(p.Records)
	}
	if sent == 0 || sent > 1024 {
		t.Errorf("%d bytes", sent)
	}
}
