package coordinator

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/group"
	"github.com/moldau/moldau/internal/machine/share"
)

// As in Kafka, a request of the five below without a group, without topics, or with a topic without partitions is
// answered with nothing. InitializeShareGroupState alone takes a topic without partitions.

// InitializeShareGroupState begins the states of share partitions.
func (c *Shares) InitializeShareGroupState(req *wire.InitializeShareGroupStateRequest, _ Client, _ int16, done func(*wire.InitializeShareGroupStateResponse)) {
	resp := &wire.InitializeShareGroupStateResponse{}
	if req.GroupID == "" || len(req.Topics) == 0 {
		done(resp)
		return
	}
	resp.Results = make([]wire.InitializeShareGroupStateResponseInitializeStateResult, len(req.Topics))
	var places []place
	for i := range req.Topics {
		t := &req.Topics[i]
		resp.Results[i].TopicID = t.TopicID
		resp.Results[i].Partitions = make([]wire.InitializeShareGroupStateResponsePartitionResult, len(t.Partitions))
		for k := range t.Partitions {
			resp.Results[i].Partitions[k].Partition = t.Partitions[k].Partition
			places = append(places, place{c.PartitionFor(req.GroupID, t.TopicID, t.Partitions[k].Partition), i, k})
		}
	}
	c.sharded(places, func(m *shareMachine, now group.Time, at place) {
		t, out := &req.Topics[at.topic], &resp.Results[at.topic].Partitions[at.partition]
		p := m.state.Initialize(now, share.Key{Group: req.GroupID, Topic: t.TopicID, Partition: out.Partition}, &t.Partitions[at.partition], &m.fx)
		out.ErrorCode, out.ErrorMessage = p.Code, p.Message()
	}, func(at place, code wire.Code) {
		out := &resp.Results[at.topic].Partitions[at.partition]
		out.ErrorCode, out.ErrorMessage = code, unable("initialize", code)
	}, func() { done(resp) })
}

// ReadShareGroupState gives the states of share partitions to their leader.
func (c *Shares) ReadShareGroupState(req *wire.ReadShareGroupStateRequest, _ Client, _ int16, done func(*wire.ReadShareGroupStateResponse)) {
	resp := &wire.ReadShareGroupStateResponse{Results: make([]wire.ReadShareGroupStateResponseReadStateResult, len(req.Topics))}
	hollow := req.GroupID == "" || len(req.Topics) == 0
	var places []place
	for i := range req.Topics {
		t := &req.Topics[i]
		hollow = hollow || len(t.Partitions) == 0
		resp.Results[i].TopicID = t.TopicID
		resp.Results[i].Partitions = make([]wire.ReadShareGroupStateResponsePartitionResult, len(t.Partitions))
		for k := range t.Partitions {
			resp.Results[i].Partitions[k].Partition = t.Partitions[k].Partition
			places = append(places, place{c.PartitionFor(req.GroupID, t.TopicID, t.Partitions[k].Partition), i, k})
		}
	}
	if hollow {
		done(&wire.ReadShareGroupStateResponse{})
		return
	}
	c.sharded(places, func(m *shareMachine, now group.Time, at place) {
		t, out := &req.Topics[at.topic], &resp.Results[at.topic].Partitions[at.partition]
		k := share.Key{Group: req.GroupID, Topic: t.TopicID, Partition: out.Partition}
		p := m.state.Read(now, k, t.Partitions[at.partition].LeaderEpoch, out, &m.fx)
		out.ErrorCode, out.ErrorMessage = p.Code, p.Message()
	}, func(at place, code wire.Code) {
		out := &resp.Results[at.topic].Partitions[at.partition]
		*out = wire.ReadShareGroupStateResponsePartitionResult{Partition: out.Partition, ErrorCode: code, ErrorMessage: unable("read", code)}
	}, func() { done(resp) })
}

// WriteShareGroupState changes the states of share partitions. All that one request brings for one partition of the
// topic is one batch.
func (c *Shares) WriteShareGroupState(req *wire.WriteShareGroupStateRequest, _ Client, _ int16, done func(*wire.WriteShareGroupStateResponse)) {
	resp := &wire.WriteShareGroupStateResponse{Results: make([]wire.WriteShareGroupStateResponseWriteStateResult, len(req.Topics))}
	hollow := req.GroupID == "" || len(req.Topics) == 0
	var places []place
	for i := range req.Topics {
		t := &req.Topics[i]
		hollow = hollow || len(t.Partitions) == 0
		resp.Results[i].TopicID = t.TopicID
		resp.Results[i].Partitions = make([]wire.WriteShareGroupStateResponsePartitionResult, len(t.Partitions))
		for k := range t.Partitions {
			resp.Results[i].Partitions[k].Partition = t.Partitions[k].Partition
			places = append(places, place{c.PartitionFor(req.GroupID, t.TopicID, t.Partitions[k].Partition), i, k})
		}
	}
	if hollow {
		done(&wire.WriteShareGroupStateResponse{})
		return
	}
	c.sharded(places, func(m *shareMachine, now group.Time, at place) {
		t, out := &req.Topics[at.topic], &resp.Results[at.topic].Partitions[at.partition]
		p := m.state.Write(now, share.Key{Group: req.GroupID, Topic: t.TopicID, Partition: out.Partition}, &t.Partitions[at.partition], &m.fx)
		out.ErrorCode, out.ErrorMessage = p.Code, p.Message()
	}, func(at place, code wire.Code) {
		out := &resp.Results[at.topic].Partitions[at.partition]
		out.ErrorCode, out.ErrorMessage = code, unable("write", code)
	}, func() { done(resp) })
}

// DeleteShareGroupState takes the states of share partitions away.
func (c *Shares) DeleteShareGroupState(req *wire.DeleteShareGroupStateRequest, _ Client, _ int16, done func(*wire.DeleteShareGroupStateResponse)) {
	resp := &wire.DeleteShareGroupStateResponse{Results: make([]wire.DeleteShareGroupStateResponseDeleteStateResult, len(req.Topics))}
	hollow := req.GroupID == "" || len(req.Topics) == 0
	var places []place
	for i := range req.Topics {
		t := &req.Topics[i]
		hollow = hollow || len(t.Partitions) == 0
		resp.Results[i].TopicID = t.TopicID
		resp.Results[i].Partitions = make([]wire.DeleteShareGroupStateResponsePartitionResult, len(t.Partitions))
		for k := range t.Partitions {
			resp.Results[i].Partitions[k].Partition = t.Partitions[k].Partition
			places = append(places, place{c.PartitionFor(req.GroupID, t.TopicID, t.Partitions[k].Partition), i, k})
		}
	}
	if hollow {
		done(&wire.DeleteShareGroupStateResponse{})
		return
	}
	c.sharded(places, func(m *shareMachine, _ group.Time, at place) {
		out := &resp.Results[at.topic].Partitions[at.partition]
		p := m.state.Delete(share.Key{Group: req.GroupID, Topic: req.Topics[at.topic].TopicID, Partition: out.Partition}, &m.fx)
		out.ErrorCode, out.ErrorMessage = p.Code, p.Message()
	}, func(at place, code wire.Code) {
		out := &resp.Results[at.topic].Partitions[at.partition]
		out.ErrorCode, out.ErrorMessage = code, unable("delete", code)
	}, func() { done(resp) })
}

// ReadShareGroupStateSummary gives the start offsets and epochs of share partitions.
func (c *Shares) ReadShareGroupStateSummary(req *wire.ReadShareGroupStateSummaryRequest, _ Client, _ int16, done func(*wire.ReadShareGroupStateSummaryResponse)) {
	resp := &wire.ReadShareGroupStateSummaryResponse{Results: make([]wire.ReadShareGroupStateSummaryResponseReadStateSummaryResult, len(req.Topics))}
	hollow := req.GroupID == "" || len(req.Topics) == 0
	var places []place
	for i := range req.Topics {
		t := &req.Topics[i]
		hollow = hollow || len(t.Partitions) == 0
		resp.Results[i].TopicID = t.TopicID
		resp.Results[i].Partitions = make([]wire.ReadShareGroupStateSummaryResponsePartitionResult, len(t.Partitions))
		for k := range t.Partitions {
			resp.Results[i].Partitions[k].SetDefaults()
			resp.Results[i].Partitions[k].Partition = t.Partitions[k].Partition
			places = append(places, place{c.PartitionFor(req.GroupID, t.TopicID, t.Partitions[k].Partition), i, k})
		}
	}
	if hollow {
		done(&wire.ReadShareGroupStateSummaryResponse{})
		return
	}
	c.sharded(places, func(m *shareMachine, _ group.Time, at place) {
		out := &resp.Results[at.topic].Partitions[at.partition]
		p := m.state.Summary(share.Key{Group: req.GroupID, Topic: req.Topics[at.topic].TopicID, Partition: out.Partition}, out)
		out.ErrorCode, out.ErrorMessage = p.Code, p.Message()
	}, func(at place, code wire.Code) {
		index := resp.Results[at.topic].Partitions[at.partition].Partition
		out := &resp.Results[at.topic].Partitions[at.partition]
		out.SetDefaults()
		out.Partition, out.ErrorCode, out.ErrorMessage = index, code, unableSummary(code)
	}, func() { done(resp) })
}

func unableSummary(code wire.Code) *string {
	text := "Unable to read share group state summary: " + share.Text(code)
	return &text
}
