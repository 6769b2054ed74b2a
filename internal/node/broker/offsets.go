package broker

import (
	"errors"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node/partition"
)

// Special timestamps of ListOffsets.
const (
	latestTimestamp       = -1
	earliestTimestamp     = -2
	maxTimestamp          = -3 // KIP-734
	earliestLocal         = -4 // KIP-405
	latestTiered          = -5 // KIP-1005
	earliestPendingUpload = -6 // KIP-1023
)

// serveListOffsets finds offsets by time.
func serveListOffsets(b *Broker, q *edge.Request, m *wire.ListOffsetsRequest) *wire.ListOffsetsResponse {
	out := &wire.ListOffsetsResponse{}
	out.SetDefaults()
	seen := make(map[topicIndex]bool)
	twice := make(map[topicIndex]bool) // to be refused, in one answer
	for i := range m.Topics {
		for j := range m.Topics[i].Partitions {
			k := topicIndex{m.Topics[i].Name, m.Topics[i].Partitions[j].PartitionIndex}
			twice[k] = twice[k] || seen[k]
			seen[k] = true
		}
	}
	for i := range m.Topics {
		in := &m.Topics[i]
		t := wire.ListOffsetsResponseListOffsetsTopicResponse{Name: in.Name}
		topic := b.table.ByName(in.Name)
		denied := !b.allowed(q, acl.Describe, acl.Topic, in.Name)
		for j := range in.Partitions {
			asked := &in.Partitions[j]
			k := topicIndex{in.Name, asked.PartitionIndex}
			if twice[k] && !seen[k] {
				continue
			}
			seen[k] = false
			r := wire.ListOffsetsResponseListOffsetsPartitionResponse{}
			r.SetDefaults()
			r.PartitionIndex = asked.PartitionIndex
			if denied {
				r.ErrorCode = wire.TopicAuthorizationFailed
			} else if twice[k] {
				r.ErrorCode = wire.InvalidRequest
			} else {
				listOffset(b, topic.Partition(asked.PartitionIndex), q.Version, m.IsolationLevel, asked, &r)
			}
			t.Partitions = append(t.Partitions, r)
		}
		out.Topics = append(out.Topics, t)
	}
	return out
}

type topicIndex struct {
	topic string
	index int32
}

// timestampSince is the version that brought each special timestamp.
var timestampSince = map[int64]int16{maxTimestamp: 7, earliestLocal: 8, latestTiered: 9, earliestPendingUpload: 11}

func listOffset(b *Broker, p *partition.Partition, version int16, isolation int8, asked *wire.ListOffsetsRequestListOffsetsPartition, r *wire.ListOffsetsResponseListOffsetsPartitionResponse) {
	if since, special := timestampSince[asked.Timestamp]; asked.Timestamp < earliestPendingUpload || special && version < since {
		r.ErrorCode = wire.UnsupportedVersion
		return
	}
	if p == nil {
		r.ErrorCode = wire.UnknownTopicOrPartition
		return
	}
	if r.ErrorCode = p.CheckEpoch(asked.CurrentLeaderEpoch); r.ErrorCode != wire.None {
		return
	}
	end := p.HighWatermark()
	if isolation == 1 {
		end = p.LastStable()
	}
	switch asked.Timestamp {
	case latestTimestamp:
		r.Offset, r.LeaderEpoch = end, p.LeaderEpoch()
	case earliestTimestamp, earliestLocal:
		r.Offset = p.Log().Start()
		if r.LeaderEpoch = p.Log().EpochAt(r.Offset); r.LeaderEpoch < 0 && r.Offset == p.Log().End() {
			r.LeaderEpoch = p.LeaderEpoch() // there is no record yet: the next will be of this epoch
		}
	case latestTiered, earliestPendingUpload:
		// Nothing is tiered: no offset, as Kafka answers without remote storage.
	default:
		offsetByTime(b, p, asked.Timestamp, end, r)
	}
}

// offsetByTime looks a timestamp, or the largest one, up in the log.
func offsetByTime(b *Broker, p *partition.Partition, timestamp, end int64, r *wire.ListOffsetsResponseListOffsetsPartitionResponse) {
	find := func(l *commitlog.Log) (commitlog.RecordPlace, bool, error) { return l.OffsetForTimestamp(timestamp) }
	if timestamp == maxTimestamp {
		find = (*commitlog.Log).MaxTimestamp
	}
	l := p.Log()
	place, found, err := find(l)
	if err != nil && p.Log() != l {
		place, found, err = find(p.Log()) // its files went to another directory meanwhile
	}
	switch {
	case err != nil:
		r.ErrorCode, _ = appendCode(err)
	case found && place.Offset < end:
		r.Offset, r.Timestamp, r.LeaderEpoch = place.Offset, place.Timestamp, place.LeaderEpoch
	}
}

// serveOffsetForLeaderEpoch tells where an epoch ended (KIP-101, KIP-320).
func serveOffsetForLeaderEpoch(b *Broker, q *edge.Request, m *wire.OffsetForLeaderEpochRequest) *wire.OffsetForLeaderEpochResponse {
	out := &wire.OffsetForLeaderEpochResponse{}
	out.SetDefaults()
	broker := b.everywhere(q, acl.ClusterAction)
	for i := range m.Topics {
		in := &m.Topics[i]
		t := wire.OffsetForLeaderEpochResponseOffsetForLeaderTopicResult{Topic: in.Topic}
		denied := !broker && !b.allowed(q, acl.Describe, acl.Topic, in.Topic)
		if broker {
			b.noted(q, acl.Describe, acl.Topic, in.Topic)
		}
		topic := b.table.ByName(in.Topic)
		for j := range in.Partitions {
			asked := &in.Partitions[j]
			r := wire.OffsetForLeaderEpochResponseEpochEndOffset{}
			r.SetDefaults()
			r.Partition = asked.Partition
			if denied {
				r.ErrorCode = wire.TopicAuthorizationFailed
			} else if p := topic.Partition(asked.Partition); p == nil {
				r.ErrorCode = wire.UnknownTopicOrPartition
			} else if r.ErrorCode = p.CheckEpoch(asked.CurrentLeaderEpoch); r.ErrorCode == wire.None {
				r.LeaderEpoch, r.EndOffset = epochEnd(p, asked.LeaderEpoch)
			}
			t.Partitions = append(t.Partitions, r)
		}
		out.Topics = append(out.Topics, t)
	}
	return out
}

// epochEnd is the log's answer; the present epoch ends at what is visible.
func epochEnd(p *partition.Partition, epoch int32) (int32, int64) {
	if epoch == p.LeaderEpoch() {
		return epoch, p.HighWatermark()
	}
	return p.Log().EpochEnd(epoch)
}

// serveDeleteRecords moves log start offsets (KIP-107).
//
// Differs from Kafka: the start offsets that DeleteRecords sets are on disk before they are answered; Kafka writes them once
// a minute, and a crash brings the records back.
func serveDeleteRecords(b *Broker, q *edge.Request, m *wire.DeleteRecordsRequest) *wire.DeleteRecordsResponse {
	out := &wire.DeleteRecordsResponse{}
	out.SetDefaults()
	for i := range m.Topics {
		in := &m.Topics[i]
		t := wire.DeleteRecordsResponseDeleteRecordsTopicResult{Name: in.Name}
		topic := b.table.ByName(in.Name)
		denied := !b.allowed(q, acl.Delete, acl.Topic, in.Name)
		for j := range in.Partitions {
			r := wire.DeleteRecordsResponseDeleteRecordsPartitionResult{PartitionIndex: in.Partitions[j].PartitionIndex, LowWatermark: -1}
			p := topic.Partition(r.PartitionIndex)
			switch {
			case denied:
				r.ErrorCode = wire.TopicAuthorizationFailed
			case p == nil:
				r.ErrorCode = wire.UnknownTopicOrPartition
			case internalTopic(in.Name):
				r.ErrorCode = wire.InvalidTopic
			default:
				r.LowWatermark, r.ErrorCode = deleteRecords(p, in.Partitions[j].Offset)
			}
			t.Partitions = append(t.Partitions, r)
		}
		out.Topics = append(out.Topics, t)
	}
	for _, s := range b.stores {
		if err := s.SaveOffsets(); err != nil {
			b.logger.Error("new log start offsets could not be saved; a crash may bring deleted records back", "dir", s.Dir(), "error", err)
		}
	}
	return out
}

// deleteRecords deletes below offset; -1 stands for the high watermark.
func deleteRecords(p *partition.Partition, offset int64) (int64, wire.Code) {
	if cfg := p.Config(); !cfg.Delete {
		return -1, wire.PolicyViolation
	}
	if offset == -1 {
		offset = p.HighWatermark()
	}
	if offset < 0 || offset > p.HighWatermark() {
		return -1, wire.OffsetOutOfRange
	}
	if err := p.Log().DeleteRecords(offset); err != nil {
		if errors.Is(err, commitlog.ErrOffsetOutOfRange) {
			return -1, wire.OffsetOutOfRange
		}
		code, _ := appendCode(err)
		return -1, code
	}
	return p.Log().Start(), wire.None
}
