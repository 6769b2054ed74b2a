package node_test

import (
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
)

// fetchAs sends a fetch as alice and does not wait.
func (o *ours) fetchAs(m *wire.FetchRequest, into *wire.FetchResponse) *pending {
	o.rig.conn = o.conns["alice@BROKER"]
	return o.send(m, 12, into)
}

// TestARightThatIsTakenBackCountsAtOnce: the next request of a session is refused, incremental or waiting or not.
func TestARightThatIsTakenBackCountsAtOnce(t *testing.T) {
	o := newOurs(t)
	e := &env{t: t, s: o, prefix: "r-"}
	e.topic("t")
	e.produced("t")
	read := right{"READ", "TOPIC", "r-t"}
	o.deny(nil)
	first := fetchOf("r-t", wire.UUID{})
	first.SessionEpoch = 0
	resp := &wire.FetchResponse{}
	if err := o.call("alice", "BROKER", first, 12, resp); err != nil || resp.SessionID == 0 || len(resp.Responses[0].Partitions[0].Records) == 0 {
		t.Fatalf("%v %s", err, brief(resp))
	}
	next := of(func(m *wire.FetchRequest) { m.SessionID, m.SessionEpoch, m.MaxBytes = resp.SessionID, 1, 1<<20 }).(*wire.FetchRequest)
	ask := func() string {
		t.Helper()
		again := &wire.FetchResponse{}
		if err := o.call("alice", "BROKER", next, 12, again); err != nil {
			t.Fatal(err)
		}
		next.SessionEpoch++
		return brief(again)
	}
	if got := ask(); got != "error 0 session true [0: error 0 hw 1 bytes 73]" {
		t.Error("in the session:", got)
	}
	o.deny([]right{read})
	if got := ask(); got != "error 0 session true [0: error 29 hw -1 bytes 0]" {
		t.Error("without the right:", got)
	}
	o.deny(nil)
	if got := ask(); got != "error 0 session true [0: error 0 hw 1 bytes 73]" {
		t.Error("with it again:", got)
	}

	// One that waits already for records behind the end is not given them.
	wait := fetchOf("r-t", wire.UUID{})
	wait.Topics[0].Partitions[0].FetchOffset, wait.MinBytes, wait.MaxWaitMs = 1, 1, 60_000
	late := &wire.FetchResponse{}
	p := o.fetchAs(wait, late)
	if p.answered {
		t.Fatal("it does not wait: ", brief(late))
	}
	o.deny([]right{read})
	e.produced("t")
	o.until("the waiting fetch", time.Minute, func() bool { return p.answered })
	if got := brief(late); got != "error 0 session false [0: error 29 hw -1 bytes 0]" {
		t.Error("waiting:", got)
	}
}

// TestTransactionalRecordsNeedTheRightToTheirId whatever the request calls itself (CVE-2018-17196).
func TestTransactionalRecordsNeedTheRightToTheirId(t *testing.T) {
	o := newOurs(t)
	e := &env{t: t, s: o, prefix: "c-"}
	e.topic("t")
	id, epoch := e.producer("x")
	o.deny([]right{{"WRITE", "TRANSACTIONAL_ID", "c-x"}})
	before := o.state()
	transactional := batch(producer{1 << 4, id, epoch, 0}, "hello")
	for what, transactionalID := range map[string]*string{"its id": ptr("c-x"), "no id": nil, "another id": ptr("c-y")} {
		m := produceRequest(-1, "c-t", 0, transactional)
		m.TransactionalID = transactionalID
		resp := &wire.ProduceResponse{}
		if err := o.call("alice", "BROKER", m, 12, resp); err != nil {
			t.Fatal(err)
		}
		if code := resp.Responses[0].PartitionResponses[0].ErrorCode; code == wire.None || what != "another id" && code != wire.TransactionalIDAuthorizationFailed {
			t.Errorf("under %s: %v", what, code)
		}
	}
	// One transactional batch among others is enough.
	m := produceRequest(-1, "c-t", 0, batch(noProducer, "hello"))
	m.TopicData = append(m.TopicData, wire.ProduceRequestTopicProduceData{Name: "c-t2", PartitionData: []wire.ProduceRequestPartitionProduceData{{Records: transactional}}})
	resp := &wire.ProduceResponse{}
	if err := o.call("alice", "BROKER", m, 12, resp); err != nil || resp.Responses[0].PartitionResponses[0].ErrorCode != wire.TransactionalIDAuthorizationFailed {
		t.Errorf("among others: %v %v", err, resp.Responses)
	}
	if after := o.state(); after != before {
		t.Errorf("something happened:\n%s\nbefore:\n%s", after, before)
	}
}
