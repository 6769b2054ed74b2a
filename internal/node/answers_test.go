package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// newConn is one more connection to the rig's node.
func newConn(r *rig) *edge.DirectConn { return edge.NewDirect(r.node.Handler(), "PLAINTEXT") }

func TestProduceCodes(t *testing.T) {
	r := newRig(t)
	r.create("a", 3)
	find := &wire.FindCoordinatorRequest{CoordinatorKeys: []string{"g"}}
	r.call(find, 4, &wire.FindCoordinatorResponse{})
	ok := batch(noProducer, "hello")
	for _, c := range []struct {
		name    string
		acks    int16
		topic   string
		index   int32
		records []byte
		want    wire.Code
		offset  int64
	}{
		{"acks all", -1, "a", 0, ok, wire.None, 0},
		{"acks one", 1, "a", 0, ok, wire.None, 1},
		{"acks two", 2, "a", 0, ok, wire.InvalidRequiredAcks, -1},
		{"acks two, no topic", 2, "nope", 0, ok, wire.UnknownTopicOrPartition, -1},
		{"no topic", -1, "nope", 0, ok, wire.UnknownTopicOrPartition, -1},
		{"no partition", -1, "a", 9, ok, wire.UnknownTopicOrPartition, -1},
		{"Kafka's own topic", -1, "__consumer_offsets", 0, ok, wire.InvalidTopic, -1},
		{"no partition of Kafka's own topic", -1, "__consumer_offsets", 9, ok, wire.UnknownTopicOrPartition, -1},
		{"no records", -1, "a", 0, []byte{}, wire.InvalidRecord, -1},
		{"two batches", -1, "a", 0, append(batch(noProducer, "x"), ok...), wire.InvalidRecord, -1},
		{"control records", -1, "a", 0, batch(producer{0x20, -1, -1, -1}, "hello"), wire.InvalidRecord, -1},
		{"cut", -1, "a", 0, ok[:20], wire.InvalidRecord, -1},
		{"producer", -1, "a", 1, batch(producer{0, 1, 0, 0}, "hello"), wire.None, 0},
		{"duplicate", -1, "a", 1, batch(producer{0, 1, 0, 0}, "hello"), wire.None, 0},
		{"gap", -1, "a", 1, batch(producer{0, 1, 0, 7}, "hello"), wire.OutOfOrderSequenceNumber, -1},
		{"next epoch", -1, "a", 1, batch(producer{0, 1, 1, 0}, "hello"), wire.None, 1},
		{"old epoch", -1, "a", 1, batch(producer{0, 1, 0, 1}, "hello"), wire.InvalidProducerEpoch, -1},
		{"a producer without sequence", -1, "a", 1, batch(producer{0, 1, 0, -1}, "hello"), wire.InvalidRecord, -1},
	} {
		resp := &wire.ProduceResponse{}
		r.call(produceRequest(c.acks, c.topic, c.index, c.records), 9, resp)
		if p := resp.Responses[0].PartitionResponses[0]; p.ErrorCode != c.want || p.BaseOffset != c.offset {
			t.Errorf("%s: %v at %d, want %v at %d", c.name, p.ErrorCode, p.BaseOffset, c.want, c.offset)
		}
	}
	p := r.send(produceRequest(0, "a", 0, ok), 9, &wire.ProduceResponse{})
	r.until("the end of a produce without acknowledgement", time.Minute, func() bool { return p.answered })
	if p.err != edge.ErrNoAnswer {
		t.Errorf("acks=0: %v", p.err)
	}
	p = r.send(produceRequest(0, "nope", 0, ok), 9, &wire.ProduceResponse{})
	if !p.answered || p.err == nil || p.err == edge.ErrNoAnswer || !r.conn.Conn().Closed() {
		t.Errorf("a failed produce with acks=0 must close the connection: %v", p.err)
	}
}

func TestMetadataTopics(t *testing.T) {
	r := newRig(t)
	a, b := r.create("a", 1), r.create("b", 2)
	name := func(s string) *string { return &s }
	type topics = []wire.MetadataRequestTopic
	for _, c := range []struct {
		name    string
		version int16
		asked   topics
		auto    bool
		want    string
	}{
		{"version 0 takes none for all", 0, topics{}, false, " a:0:1 b:0:2"},
		{"none", 1, topics{}, false, ""},
		{"all", 1, nil, false, " a:0:1 b:0:2"},
		{"missing and impossible", 9, topics{{Name: name("nope")}, {Name: name("bad/name")}}, false, " nope:3:0 bad/name:17:0"},
		{"twice", 9, topics{{Name: name("a")}, {Name: name("a")}}, false, " a:0:1"},
		{"ids count, names do not", 12, topics{{TopicID: b}, {Name: name("a")}}, false, " b:0:2"},
		{"an unknown id has no name", 12, topics{{TopicID: wire.UUID{9}, Name: name("a")}}, false, " -:100:0"},
		{"ids before version 12", 10, topics{{TopicID: a, Name: name("b")}}, false, " b:42:0"},
		{"created on use", 12, topics{{Name: name("new")}}, true, " new:0:1"},
	} {
		m := &wire.MetadataRequest{Topics: c.asked, AllowAutoTopicCreation: c.auto}
		resp := &wire.MetadataResponse{}
		r.call(m, c.version, resp)
		got := ""
		for _, x := range resp.Topics {
			n := "-"
			if x.Name != nil {
				n = *x.Name
			}
			got += fmt.Sprintf(" %s:%d:%d", n, int16(x.ErrorCode), len(x.Partitions))
		}
		if got != c.want {
			t.Errorf("%s: got%s, want%s", c.name, got, c.want)
		}
	}
}

func TestListOffsets(t *testing.T) {
	r := newRig(t)
	r.create("a", 2)
	r.produce("a", 1)
	for _, c := range []struct {
		version     int16
		topic       string
		index       int32
		timestamp   int64
		epoch       int32
		want        wire.Code
		offset      int64
		leaderEpoch int32
	}{
		{6, "a", 0, -1, -1, wire.None, 0, 0},
		{6, "a", 0, -2, -1, wire.None, 0, 0},
		{6, "a", 1, -1, -1, wire.None, 1, 0},
		{6, "a", 1, -2, -1, wire.None, 0, 0},
		{6, "a", 1, 0, -1, wire.None, 0, 0},
		{6, "a", 1, 5, -1, wire.None, -1, -1},
		{7, "a", 1, -3, -1, wire.None, 0, 0},
		{7, "a", 0, -3, -1, wire.None, -1, -1},
		{6, "a", 0, -3, -1, wire.UnsupportedVersion, -1, -1},
		{6, "nope", 0, -3, -1, wire.UnsupportedVersion, -1, -1},
		{7, "a", 0, -4, -1, wire.UnsupportedVersion, -1, -1},
		{8, "a", 0, -4, -1, wire.None, 0, 0},
		{8, "a", 0, -5, -1, wire.UnsupportedVersion, -1, -1},
		{9, "a", 0, -5, -1, wire.None, -1, -1},
		{10, "a", 0, -6, -1, wire.UnsupportedVersion, -1, -1},
		{11, "a", 0, -6, -1, wire.None, -1, -1},
		{11, "a", 0, -7, -1, wire.UnsupportedVersion, -1, -1},
		{6, "a", 7, -1, -1, wire.UnknownTopicOrPartition, -1, -1},
		{6, "a", 0, -1, 9, wire.UnknownLeaderEpoch, -1, -1},
	} {
		m := &wire.ListOffsetsRequest{ReplicaID: -1, Topics: []wire.ListOffsetsRequestListOffsetsTopic{{Name: c.topic,
			Partitions: []wire.ListOffsetsRequestListOffsetsPartition{{PartitionIndex: c.index, Timestamp: c.timestamp, CurrentLeaderEpoch: c.epoch}}}}}
		resp := &wire.ListOffsetsResponse{}
		r.call(m, c.version, resp)
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != c.want || p.Offset != c.offset || p.LeaderEpoch != c.leaderEpoch {
			t.Errorf("version %d %s-%d at %d: got %v, %d, epoch %d; want %v, %d, epoch %d", c.version, c.topic, c.index, c.timestamp,
				p.ErrorCode, p.Offset, p.LeaderEpoch, c.want, c.offset, c.leaderEpoch)
		}
	}
}

func TestDescribeTopicPartitionsPages(t *testing.T) {
	r := newRig(t)
	r.create("a", 3)
	r.create("b", 3)
	type cursor = wire.DescribeTopicPartitionsRequestCursor
	for _, c := range []struct {
		name   string
		topics []string
		cursor *cursor
		limit  int32
		want   string
	}{
		{"a limit of 0 gives one", []string{"a", "b"}, nil, 0, " a:0:1 next a/1"},
		{"a whole topic", []string{"b", "a"}, nil, 3, " a:0:3 next b/0"},
		{"into the next", nil, nil, 4, " a:0:3 b:0:1 next b/1"},
		{"going on", nil, &cursor{TopicName: "b", PartitionIndex: 1}, 4, " b:0:2"},
		{"at a topic that went away", nil, &cursor{TopicName: "aa", PartitionIndex: 1}, 2, " b:0:2 next b/2"},
		{"a cursor elsewhere", []string{"a"}, &cursor{TopicName: "b", PartitionIndex: 1}, 4, " a:42:0"},
		{"a negative cursor", []string{"a"}, &cursor{TopicName: "a", PartitionIndex: -1}, 4, " a:42:0"},
		{"missing", []string{"a", "nope", "x/y"}, nil, 9, " a:0:3 nope:3:0 x/y:17:0"},
	} {
		m := &wire.DescribeTopicPartitionsRequest{ResponsePartitionLimit: c.limit, Cursor: c.cursor}
		for _, n := range c.topics {
			m.Topics = append(m.Topics, wire.DescribeTopicPartitionsRequestTopicRequest{Name: n})
		}
		resp := &wire.DescribeTopicPartitionsResponse{}
		r.call(m, 0, resp)
		got := ""
		for _, x := range resp.Topics {
			got += fmt.Sprintf(" %s:%d:%d", *x.Name, int16(x.ErrorCode), len(x.Partitions))
		}
		if n := resp.NextCursor; n != nil {
			got += fmt.Sprintf(" next %s/%d", n.TopicName, n.PartitionIndex)
		}
		if got != c.want {
			t.Errorf("%s: got%s, want%s", c.name, got, c.want)
		}
	}
}

func TestInitProducerID(t *testing.T) {
	r := newRig(t)
	empty := ""
	for _, c := range []struct {
		id    int64
		epoch int16
		txn   *string
		want  wire.Code
		got   int64
	}{
		{-1, -1, nil, wire.None, 0},
		{1000, 3, nil, wire.None, 1},
		{5, -1, nil, wire.InvalidRequest, -1},
		{-1, 3, nil, wire.InvalidRequest, -1},
		{-1, -1, &empty, wire.InvalidRequest, -1},
	} {
		resp := &wire.InitProducerIdResponse{}
		r.call(&wire.InitProducerIdRequest{TransactionalID: c.txn, TransactionTimeoutMs: 1000, ProducerID: c.id, ProducerEpoch: c.epoch}, 4, resp)
		if resp.ErrorCode != c.want || resp.ProducerID != c.got {
			t.Errorf("%d, %d: %v %d", c.id, c.epoch, resp.ErrorCode, resp.ProducerID)
		}
	}
}

func TestDeleteRecords(t *testing.T) {
	r := newRig(t)
	r.create("a", 1)
	for range 3 {
		r.produce("a", 0)
	}
	r.call(&wire.FindCoordinatorRequest{CoordinatorKeys: []string{"g"}}, 4, &wire.FindCoordinatorResponse{})
	for _, c := range []struct {
		topic  string
		index  int32
		offset int64
		want   wire.Code
		low    int64
	}{
		{"a", 0, 1, wire.None, 1},
		{"a", 0, 0, wire.None, 1},
		{"a", 0, 4, wire.OffsetOutOfRange, -1},
		{"a", 0, -2, wire.OffsetOutOfRange, -1},
		{"a", 0, -1, wire.None, 3},
		{"a", 9, 0, wire.UnknownTopicOrPartition, -1},
		{"nope", 0, 0, wire.UnknownTopicOrPartition, -1},
		{"__consumer_offsets", 0, 0, wire.InvalidTopic, -1},
	} {
		m := &wire.DeleteRecordsRequest{Topics: []wire.DeleteRecordsRequestDeleteRecordsTopic{{Name: c.topic,
			Partitions: []wire.DeleteRecordsRequestDeleteRecordsPartition{{PartitionIndex: c.index, Offset: c.offset}}}}}
		resp := &wire.DeleteRecordsResponse{}
		r.call(m, 2, resp)
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != c.want || p.LowWatermark != c.low {
			t.Errorf("%s-%d to %d: %v, %d", c.topic, c.index, c.offset, p.ErrorCode, p.LowWatermark)
		}
	}
}

// Each listener serves the APIs of its role, says so, and closes the connection on others.
func TestListenerRoles(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		listener string
		produce  bool
		kind     int8
		want     [4]wire.Code // DescribeCluster for kinds 0 to 3
	}{
		{"PLAINTEXT", true, 1, [4]wire.Code{wire.UnsupportedEndpointType, wire.None, wire.MismatchedEndpointType, wire.UnsupportedEndpointType}},
		{"CONTROLLER", false, 2, [4]wire.Code{wire.UnsupportedEndpointType, wire.MismatchedEndpointType, wire.None, wire.UnsupportedEndpointType}},
	} {
		c0 := *r
		c0.conn = edge.NewDirect(r.node.Handler(), c.listener)
		m := &wire.ApiVersionsRequest{ClientSoftwareName: "x", ClientSoftwareVersion: "1"}
		versions := &wire.ApiVersionsResponse{}
		c0.call(m, 4, versions)
		lists := false
		for _, k := range versions.APIKeys {
			lists = lists || k.APIKey == wire.KeyMetadata
		}
		if lists != c.produce {
			t.Errorf("%s lists Metadata: %v", c.listener, lists)
		}
		for kind := range int8(4) {
			resp := &wire.DescribeClusterResponse{}
			c0.call(&wire.DescribeClusterRequest{EndpointType: kind}, 1, resp)
			if resp.ErrorCode != c.want[kind] || (resp.ErrorCode == wire.None) != (len(resp.Brokers) == 1) {
				t.Errorf("%s kind %d: %v, %d brokers", c.listener, kind, resp.ErrorCode, len(resp.Brokers))
			}
		}
		p := c0.send(&wire.MetadataRequest{}, 9, &wire.MetadataResponse{})
		if !p.answered || (p.err == nil) != c.produce || c0.conn.Conn().Closed() == c.produce {
			t.Errorf("%s: Metadata %v", c.listener, p.err)
		}
	}
}

// librdkafka 2 writes one byte too many when it asks for all topics: a subscription by pattern depends on the answer.
func TestBytesBehindTheMessage(t *testing.T) {
	r := newRig(t)
	r.create("a", 1)
	h := wire.RequestHeader{APIKey: wire.KeyMetadata, APIVersion: 13, CorrelationID: 1}
	frame := append(wire.AppendRequestFrame(nil, &h, &wire.MetadataRequest{}), 0)
	var resp wire.MetadataResponse
	answered := false
	r.conn.Send(frame[4:], func(b []byte, err error) {
		if answered = true; err != nil {
			t.Fatal(err)
		}
		rd := wire.NewReader(b)
		if _, err := wire.DecodeResponseHeader(rd, h.APIKey, h.APIVersion); err != nil {
			t.Fatal(err)
		}
		resp.Decode(rd, h.APIVersion)
	})
	r.until("the answer", time.Minute, func() bool { return answered })
	if len(resp.Topics) != 1 {
		t.Errorf("%d topics, want 1", len(resp.Topics))
	}
}
