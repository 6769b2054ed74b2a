package coordinator

import (
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// DescribeShareGroupOffsets tells where share groups are, and from version 1 on how many records lie before them.
func (c *Groups) DescribeShareGroupOffsets(req *wire.DescribeShareGroupOffsetsRequest, _ Client, _ int16, done func(*wire.DescribeShareGroupOffsetsResponse)) {
	resp := &wire.DescribeShareGroupOffsetsResponse{Groups: make([]wire.DescribeShareGroupOffsetsResponseGroup, len(req.Groups))}
	all := newGather(len(req.Groups), func() { done(resp) })
	for i := range req.Groups {
		c.describeOffsets(&req.Groups[i], &resp.Groups[i], all.one)
	}
	all.one()
}

// describeOffsets answers for one group.
func (c *Groups) describeOffsets(in *wire.DescribeShareGroupOffsetsRequestGroup, out *wire.DescribeShareGroupOffsetsResponseGroup, done func()) {
	out.GroupID = strings.Clone(in.GroupID)
	refused := func(code wire.Code) {
		out.ErrorCode, out.ErrorMessage = code, codeText(code)
		done()
	}
	img := c.image.Load()
	if img == nil {
		refused(wire.CoordinatorNotAvailable)
		return
	}
	ask := &wire.ReadShareGroupStateSummaryRequest{GroupID: out.GroupID}
	if in.Topics == nil {
		// All that the group has.
		c.shardFor(out.GroupID).after(func(m *groupMachine, t *turn, code wire.Code) {
			ask.Topics = m.share.Readable(out.GroupID)
			t.calls = append(t.calls, func() {
				if code != wire.None {
					refused(code)
					return
				}
				c.summarize(ask, out, nil, done)
			})
		}, refused)
		return
	}
	var unknown []wire.DescribeShareGroupOffsetsResponseTopic
	places, asked := map[wire.UUID]int{}, map[partitionOf]bool{} // what is there twice is answered once
	for i := range in.Topics {
		name := strings.Clone(in.Topics[i].TopicName)
		topic, ok := img.Topic(name)
		if !ok {
			none := wire.DescribeShareGroupOffsetsResponseTopic{TopicName: name}
			for _, p := range in.Topics[i].Partitions {
				none.Partitions = append(none.Partitions, wire.DescribeShareGroupOffsetsResponsePartition{PartitionIndex: p, StartOffset: -1, Lag: -1})
			}
			unknown = append(unknown, none)
			continue
		}
		at, ok := places[topic.ID]
		if !ok {
			at = len(ask.Topics)
			places[topic.ID] = at
			ask.Topics = append(ask.Topics, wire.ReadShareGroupStateSummaryRequestReadStateSummaryData{TopicID: topic.ID})
		}
		for _, p := range in.Topics[i].Partitions {
			if key := (partitionOf{topic.ID, p}); !asked[key] {
				asked[key] = true
				ask.Topics[at].Partitions = append(ask.Topics[at].Partitions, wire.ReadShareGroupStateSummaryRequestPartitionData{Partition: p, LeaderEpoch: -1})
			}
		}
	}
	c.summarize(ask, out, unknown, done)
}

// summarize asks the share coordinator and fills in the answer.
//
// Differs from Kafka: DescribeShareGroupOffsets answers INVALID_GROUP_ID for topics of a group without name; Kafka fails with
// UNKNOWN_SERVER_ERROR.
func (c *Groups) summarize(ask *wire.ReadShareGroupStateSummaryRequest, out *wire.DescribeShareGroupOffsetsResponseGroup,
	unknown []wire.DescribeShareGroupOffsetsResponseTopic, done func(),
) {
	// A topic without partitions has no answer, and would take that of the others away.
	kept := ask.Topics[:0:0]
	img := c.image.Load()
	for _, t := range ask.Topics {
		if _, ok := img.TopicByID(t.TopicID); ok && len(t.Partitions) > 0 {
			kept = append(kept, t)
		}
	}
	ask.Topics = kept
	fill := func(resp *wire.ReadShareGroupStateSummaryResponse) {
		out.Topics = make([]wire.DescribeShareGroupOffsetsResponseTopic, 0, len(resp.Results)+len(unknown))
		for i := range resp.Results {
			out.Topics = append(out.Topics, c.describeTopic(&resp.Results[i]))
		}
		out.Topics = append(out.Topics, unknown...)
		done()
	}
	if len(kept) == 0 {
		fill(&wire.ReadShareGroupStateSummaryResponse{})
		return
	}
	if _, ok := img.Topic(ShareTopic); !ok {
		fill(noSummary(ask))
		return
	}
	if ask.GroupID == "" { // the share coordinator leaves such questions without answer
		out.ErrorCode, out.ErrorMessage = wire.InvalidGroupID, codeText(wire.InvalidGroupID)
		done()
		return
	}
	c.insist(func(last bool, next func(bool)) {
		c.shareParts.Shares.ReadShareGroupStateSummary(ask, Client{}, 0, func(resp *wire.ReadShareGroupStateSummaryResponse) {
			again := false
			for i := range resp.Results {
				for _, p := range resp.Results[i].Partitions {
					again = again || comeAgain(p.ErrorCode)
				}
			}
			if again && !last {
				next(true)
				return
			}
			fill(resp)
		})
	})
}

// noSummary is the answer while no share partition at all has a state.
func noSummary(ask *wire.ReadShareGroupStateSummaryRequest) *wire.ReadShareGroupStateSummaryResponse {
	resp := &wire.ReadShareGroupStateSummaryResponse{}
	for i := range ask.Topics {
		out := wire.ReadShareGroupStateSummaryResponseReadStateSummaryResult{TopicID: ask.Topics[i].TopicID}
		for _, p := range ask.Topics[i].Partitions {
			out.Partitions = append(out.Partitions, wire.ReadShareGroupStateSummaryResponsePartitionResult{Partition: p.Partition, StartOffset: -1, DeliveryCompleteCount: -1})
		}
		resp.Results = append(resp.Results, out)
	}
	return resp
}

// describeTopic is what the summaries of a topic's partitions come to. As in Kafka, a summary that could not be read
// looks like that of a share partition that nobody has read yet.
func (c *Groups) describeTopic(in *wire.ReadShareGroupStateSummaryResponseReadStateSummaryResult) wire.DescribeShareGroupOffsetsResponseTopic {
	out := wire.DescribeShareGroupOffsetsResponseTopic{TopicID: in.TopicID}
	if topic, ok := c.image.Load().TopicByID(in.TopicID); ok {
		out.TopicName = topic.Name
	}
	for _, p := range in.Partitions {
		r := wire.DescribeShareGroupOffsetsResponsePartition{PartitionIndex: p.Partition, StartOffset: p.StartOffset, LeaderEpoch: p.LeaderEpoch, Lag: -1}
		switch {
		case p.ErrorCode != wire.None:
			r.StartOffset, r.LeaderEpoch = -1, 0
		case p.StartOffset != -1 && p.DeliveryCompleteCount != -1 && c.shareParts.End != nil:
			end, code := c.shareParts.End(out.TopicName, p.Partition)
			if code != wire.None {
				r = wire.DescribeShareGroupOffsetsResponsePartition{PartitionIndex: p.Partition, Lag: -1, ErrorCode: code, ErrorMessage: codeText(code)}
				break
			}
			r.Lag = end - p.StartOffset - int64(p.DeliveryCompleteCount)
		}
		out.Partitions = append(out.Partitions, r)
	}
	return out
}
